//! Which known name a misspelt one was probably meant to be.

/// The nearest of `candidates`, if one is near enough to be what was meant: a few typing errors away, or the same last part under
/// another section.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let last = |path: &str| path.rsplit(['.', '_']).next().map(str::to_owned);
    candidates
        .into_iter()
        .map(|candidate| {
            let moved = candidate.rsplit('.').next() == name.rsplit('.').next() || last(candidate).is_some_and(|part| part == name);
            (if moved { 1 } else { distance(name, candidate) }, candidate)
        })
        .filter(|(distance, candidate)| *distance <= (candidate.chars().count() / 3).max(2))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// `; did you mean …?`, or nothing.
pub(super) fn hint<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, candidates)
        .map(|candidate| format!("; did you mean {candidate}?"))
        .unwrap_or_default()
}

/// Levenshtein distance over characters, with one row of memory. Names are cut so that a hostile file costs nothing.
fn distance(a: &str, b: &str) -> usize {
    const LONGEST: usize = 64;
    let b: Vec<char> = b.chars().take(LONGEST).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().take(LONGEST).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, to) in row.iter_mut().skip(1).zip(&b) {
            let above = *cell;
            left = (diagonal + usize::from(from != *to)).min(above + 1).min(left + 1);
            diagonal = above;
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_insertions_deletions_and_substitutions() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("listen", "listne", 2),
            ("a", "a", 0),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn suggests_a_near_name_and_the_same_name_elsewhere_but_nothing_far() {
        let known = ["server.listen", "engine.ping_interval", "adapter.kind"];
        assert_eq!(nearest("server.lisen", known), Some("server.listen"));
        assert_eq!(nearest("engine.ping_intervall", known), Some("engine.ping_interval"));
        assert_eq!(nearest("cluster.kind", known), Some("adapter.kind"));
        assert_eq!(nearest("completely.different", known), None);
    }
}
