//! Line charts as SVG: axes with units, a legend, a point's numbers when the pointer is on it. Colours are those of the page's style.

use super::escape;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
/// Around the plot: for the labels of the axes.
const LEFT: f64 = 70.0;
const RIGHT: f64 = 16.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 52.0;
/// Of the quantile's scale: what is nearer to 1 stands there.
const FINEST: f64 = 1e-4;

/// A chart.
#[derive(Debug)]
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) lines: Vec<Line>,
}

/// One of its axes.
#[derive(Debug)]
pub(super) struct Axis {
    /// What it shows, with its unit.
    pub(super) label: String,
    pub(super) scale: Scale,
}

/// How values are spread over an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    Logarithmic,
    /// The nearer to 1, the wider.
    Quantile,
}

/// One line.
#[derive(Debug)]
pub(super) struct Line {
    /// Its name, and its class in the style.
    pub(super) name: &'static str,
    pub(super) points: Vec<Point>,
    /// Whether each point is marked.
    pub(super) marked: bool,
}

/// One point, with the smallest and the largest of what it is the median of.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) spread: Option<(f64, f64)>,
}

/// An axis with the bounds of what it shows.
struct Fitted<'a> {
    axis: &'a Axis,
    low: f64,
    high: f64,
    /// Where its ends are.
    from: f64,
    to: f64,
}

impl Chart {
    /// The chart; `None` if there is nothing in it.
    pub(super) fn svg(&self) -> Option<String> {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let heights = points().flat_map(|point| {
            [
                point.y,
                point.spread.map_or(point.y, |s| s.0),
                point.spread.map_or(point.y, |s| s.1),
            ]
        });
        let x = Fitted::new(&self.x, points().map(|point| point.x), LEFT, WIDTH - RIGHT)?;
        let y = Fitted::new(&self.y, heights, HEIGHT - BOTTOM, TOP)?;
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n",
            escape(&self.title)
        );
        svg += &x.upright();
        svg += &y.level();
        for line in &self.lines {
            svg += &line.svg(&x, &y);
        }
        svg += &self.legend();
        svg += "</svg>\n";
        Some(svg)
    }

    fn legend(&self) -> String {
        let mut at = LEFT;
        let mut svg = String::new();
        for line in self.lines.iter().filter(|line| !line.points.is_empty()) {
            let (name, middle) = (line.name, TOP / 2.0);
            let words = at + 28.0;
            push(&mut svg, format_args!("<path class=\"line {name}\" d=\"M{at} {middle}h22\"/>"));
            push(
                &mut svg,
                format_args!("<text x=\"{words}\" y=\"{:.1}\">{name}</text>\n", middle + 4.0),
            );
            at = words + 9.0 * name.len() as f64 + 16.0;
        }
        svg
    }
}

impl Line {
    fn svg(&self, x: &Fitted<'_>, y: &Fitted<'_>) -> String {
        let mut svg = String::new();
        let mut path = String::new();
        let mut marks = String::new();
        for (number, point) in self.points.iter().enumerate() {
            let (h, v) = (x.place(point.x), y.place(point.y));
            push(&mut path, format_args!("{}{h:.1} {v:.1}", if number == 0 { 'M' } else { 'L' }));
            if let Some((low, high)) = point.spread {
                let (low, high) = (y.place(low), y.place(high));
                push(
                    &mut marks,
                    format_args!("<path class=\"spread {}\" d=\"M{h:.1} {low:.1}V{high:.1}\"/>", self.name),
                );
            }
            if self.marked {
                let (name, px, py) = (self.name, point.x, point.y);
                push(
                    &mut marks,
                    format_args!(
                        "<circle class=\"mark {name}\" cx=\"{h:.1}\" cy=\"{v:.1}\" r=\"3.5\"><title>{name}: {px} &#8594; {py:.3}</title></circle>"
                    ),
                );
            }
        }
        push(&mut svg, format_args!("<path class=\"line {}\" d=\"{path}\"/>{marks}\n", self.name));
        svg
    }
}

impl<'a> Fitted<'a> {
    fn new(axis: &'a Axis, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Option<Self> {
        let places = values.map(|value| axis.scale.of(value)).filter(|place| place.is_finite());
        let (low, high) = places.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), place| {
            (low.min(place), high.max(place))
        });
        // A single value gets room around it.
        let room = if high - low < 1e-9 { 0.5 } else { 0.0 };
        (low <= high).then_some(Self {
            axis,
            low: low - room,
            high: high + room,
            from,
            to,
        })
    }

    fn place(&self, value: f64) -> f64 {
        let share = (self.axis.scale.of(value) - self.low) / (self.high - self.low);
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Values with a line and a number.
    fn ticks(&self) -> Vec<(f64, String)> {
        let all = match self.axis.scale {
            Scale::Quantile => [0.0, 0.5, 0.9, 0.99, 0.999, 1.0 - FINEST]
                .map(|quantile| {
                    (
                        quantile,
                        if quantile > 0.9995 {
                            "max".to_owned()
                        } else {
                            format!("{}", quantile * 100.0) + " %"
                        },
                    )
                })
                .to_vec(),
            Scale::Logarithmic => {
                let decades = |from: f64, to: f64| from.floor() as i32..=to.ceil() as i32;
                let steps: &[f64] = if self.high - self.low > 2.5 { &[1.0] } else { &[1.0, 2.0, 5.0] };
                decades(self.low, self.high)
                    .flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)))
                    .map(|value| (value, plain(value)))
                    .collect()
            }
        };
        let inside = |value: f64| {
            let place = self.axis.scale.of(value);
            place >= self.low - 1e-9 && place <= self.high + 1e-9
        };
        all.into_iter().filter(|(value, _)| inside(*value)).collect()
    }

    /// Itself as what runs from left to right.
    fn upright(&self) -> String {
        let (top, bottom) = (TOP, HEIGHT - BOTTOM);
        let mut svg = String::new();
        for (value, text) in self.ticks() {
            let at = self.place(value);
            push(&mut svg, format_args!("<path class=\"grid\" d=\"M{at:.1} {top}V{bottom}\"/>"));
            push(
                &mut svg,
                format_args!("<text class=\"middle\" x=\"{at:.1}\" y=\"{:.1}\">{text}</text>\n", bottom + 17.0),
            );
        }
        let (middle, below) = (f64::midpoint(self.from, self.to), HEIGHT - 10.0);
        push(
            &mut svg,
            format_args!(
                "<text class=\"middle\" x=\"{middle:.1}\" y=\"{below}\">{}</text>\n",
                escape(&self.axis.label)
            ),
        );
        svg
    }

    /// Itself as what runs from bottom to top.
    fn level(&self) -> String {
        let (left, right) = (LEFT, WIDTH - RIGHT);
        let mut svg = String::new();
        for (value, text) in self.ticks() {
            let at = self.place(value);
            push(&mut svg, format_args!("<path class=\"grid\" d=\"M{left} {at:.1}H{right}\"/>"));
            push(
                &mut svg,
                format_args!("<text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{text}</text>\n", left - 6.0, at + 4.0),
            );
        }
        let middle = f64::midpoint(self.from, self.to);
        let label = escape(&self.axis.label);
        push(
            &mut svg,
            format_args!("<text class=\"middle\" transform=\"translate(16 {middle:.1}) rotate(-90)\">{label}</text>\n"),
        );
        svg
    }
}

impl Scale {
    /// Where a value stands on a straight line.
    fn of(self, value: f64) -> f64 {
        match self {
            Self::Logarithmic => value.log10(),
            Self::Quantile => -(1.0 - value).max(FINEST).log10(),
        }
    }
}

fn plain(value: f64) -> String {
    // 0.2 is 0.2 and not 0.2000000001.
    format!("{}", (value * 1e6).round() / 1e6)
}

fn push(text: &mut String, what: std::fmt::Arguments<'_>) {
    text.push_str(&what.to_string());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(points: &[(f64, f64)]) -> Chart {
        let axis = |label: &str| Axis {
            label: label.to_owned(),
            scale: Scale::Logarithmic,
        };
        let point = |&(x, y): &(f64, f64)| Point { x, y, spread: None };
        let points = points.iter().map(point).collect();
        Chart {
            title: "a < b".to_owned(),
            x: axis("connections"),
            y: axis("us"),
            lines: vec![Line {
                name: "fanfare",
                points,
                marked: true,
            }],
        }
    }

    #[test]
    fn a_line_runs_from_corner_to_corner_of_the_plot() {
        let svg = chart(&[(10.0, 1.0), (100.0, 10.0), (1000.0, 100.0)]).svg().unwrap();
        assert!(svg.contains("d=\"M70.0 308.0L347.0 171.0L624.0 34.0\""), "{svg}");
        assert_eq!(svg.matches("<circle").count(), 3);
        assert!(svg.contains("aria-label=\"a &lt; b\"") && svg.contains(">connections</text>") && svg.contains(">us</text>"));
        for tick in [">10</text>", ">100</text>", ">1000</text>", ">50</text>"] {
            assert!(svg.contains(tick), "{tick} in {svg}");
        }
    }

    #[test]
    fn what_cannot_be_drawn_is_left_out() {
        assert_eq!(chart(&[]).svg(), None);
        // Nothing is below all powers of ten.
        assert_eq!(chart(&[(1.0, 0.0)]).svg(), None);
        assert!(chart(&[(5.0, 5.0)]).svg().unwrap().contains("M347.0 171.0"));
    }

    #[test]
    fn quantiles_are_spread_towards_the_last() {
        let places = [0.0, 0.9, 0.99, 0.999, 0.99999, 1.0].map(|quantile| Scale::Quantile.of(quantile));
        for (place, wanted) in places.into_iter().zip([0.0, 1.0, 2.0, 3.0, 4.0, 4.0]) {
            assert!((place - wanted).abs() < 1e-9, "{places:?}");
        }
    }
}
