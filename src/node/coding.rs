//! How the body of an answer is packed: what the client takes, and doing it (RFC 9110, 8.4 and 12.5.3).

use std::io::{self, Write as _};

use bytes::Bytes;
use flate2::{
    Compression,
    write::{GzEncoder, ZlibEncoder},
};
use http::{HeaderMap, HeaderValue, header::ACCEPT_ENCODING};

/// Above so many bytes packing leaves the runtime's workers alone.
const INLINE: usize = 32 << 10;

/// Of brotli's levels, 0 to 11, the last that does not take seconds for a megabyte.
const BROTLI_QUALITY: i32 = 9;

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Brotli,
    Gzip,
    /// What HTTP calls `deflate`: the zlib format.
    Deflate,
}

impl Coding {
    /// The one of `offered` that the client likes best, if it takes any; of two that it likes as much, the one that is offered first.
    pub(super) fn preferred(request: &HeaderMap, offered: &[Self]) -> Option<Self> {
        let mut best: Option<(u16, Self)> = None;
        for &coding in offered {
            let quality = coding.quality(request);
            if quality > best.map_or(0, |(quality, _)| quality) {
                best = Some((quality, coding));
            }
        }
        best.map(|(_, coding)| coding)
    }

    /// Its name in `Content-Encoding`.
    pub(super) fn header(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }

    /// Packs a body. Several milliseconds for a large one: where that matters, see [`Coding::pack_aside`].
    pub(super) fn pack(self, body: &[u8]) -> io::Result<Vec<u8>> {
        let packed = Vec::with_capacity(body.len() / 2);
        match self {
            Self::Gzip => {
                let mut encoder = GzEncoder::new(packed, Compression::default());
                encoder.write_all(body)?;
                encoder.finish()
            }
            Self::Deflate => {
                let mut encoder = ZlibEncoder::new(packed, Compression::default());
                encoder.write_all(body)?;
                encoder.finish()
            }
            Self::Brotli => {
                let parameters = brotli::enc::BrotliEncoderParams {
                    quality: BROTLI_QUALITY,
                    ..Default::default()
                };
                let mut packed = packed;
                brotli::BrotliCompress(&mut &*body, &mut packed, &parameters)?;
                Ok(packed)
            }
        }
    }

    /// Packs a body, a large one on a thread that may block.
    pub(super) async fn pack_aside(self, body: Bytes) -> io::Result<Vec<u8>> {
        if body.len() <= INLINE {
            return self.pack(&body);
        }
        tokio::task::spawn_blocking(move || self.pack(&body))
            .await
            .map_err(io::Error::other)?
    }

    fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }

    /// How much the client likes it, in thousandths. Its own entry counts before `*`; without either it is not taken, and what cannot
    /// be read is no entry.
    fn quality(self, request: &HeaderMap) -> u16 {
        let lists = request.get_all(ACCEPT_ENCODING).iter().filter_map(|list| list.to_str().ok());
        let mut any = None;
        for item in lists.flat_map(|list| list.split(',')) {
            let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
            let Some(quality) = thousandths(parameters.trim()) else { continue };
            match name.trim() {
                name if name.eq_ignore_ascii_case(self.name()) => return quality,
                "*" => any = any.or(Some(quality)),
                _ => {}
            }
        }
        any.unwrap_or(0)
    }
}

/// `q=0.8` is 800, nothing is 1000.
fn thousandths(parameters: &str) -> Option<u16> {
    if parameters.is_empty() {
        return Some(1000);
    }
    let (name, value) = parameters.split_once('=')?;
    let quality: f32 = value.trim().parse().ok()?;
    let named = name.trim().eq_ignore_ascii_case("q") && (0.0..=1.0).contains(&quality);
    // Between 0 and 1000 by the line above.
    named.then_some((quality * 1000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use flate2::read::{GzDecoder, ZlibDecoder};

    use super::{Coding::*, *};

    fn preferred(accepted: &'static str, offered: &[Coding]) -> Option<Coding> {
        let mut request = HeaderMap::new();
        for line in accepted.split('|') {
            request.append(ACCEPT_ENCODING, HeaderValue::from_static(line));
        }
        Coding::preferred(&request, offered)
    }

    #[test]
    fn the_client_s_preference_decides_then_the_server_s() {
        let all = [Brotli, Gzip, Deflate];
        for (accepted, expected) in [
            ("gzip, deflate, br, zstd", Some(Brotli)),
            ("gzip, deflate", Some(Gzip)),
            ("deflate, gzip;q=0.9", Some(Deflate)),
            ("gzip;q=0.5, br;q=0.1|deflate;q=0.6", Some(Deflate)),
            ("GZIP", Some(Gzip)),
            ("*", Some(Brotli)),
            ("*;q=0.1, br;q=0", Some(Gzip)),
            ("*;q=0, deflate", Some(Deflate)),
            ("gzip; q=0.000", None),
            ("identity", None),
            ("gzip;q=2, deflate;q=NaN, br;x=1", None),
            ("", None),
            (";;,=,q=", None),
        ] {
            assert_eq!(preferred(accepted, &all), expected, "{accepted:?}");
        }
        assert_eq!(preferred("br", &[Gzip, Deflate]), None);
        assert_eq!(Coding::preferred(&HeaderMap::new(), &all), None);
    }

    #[tokio::test]
    async fn what_was_packed_is_what_was_given() {
        for body in [
            Bytes::new(),
            Bytes::from("fanfare ".repeat(20)),
            Bytes::from("fanfare ".repeat(20_000)),
        ] {
            for coding in [Gzip, Deflate, Brotli] {
                let packed = coding.pack_aside(body.clone()).await.unwrap();
                let mut unpacked = Vec::new();
                match coding {
                    Gzip => GzDecoder::new(&*packed).read_to_end(&mut unpacked).map(drop),
                    Deflate => ZlibDecoder::new(&*packed).read_to_end(&mut unpacked).map(drop),
                    Brotli => brotli::BrotliDecompress(&mut &*packed, &mut unpacked),
                }
                .unwrap();
                assert_eq!(unpacked, body, "{coding:?}");
                assert!(packed.len() < body.len() / 2 || body.is_empty());
            }
        }
    }
}
