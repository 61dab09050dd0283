//! Tokens that other implementations made, and every way in which they can be wrong.

use std::time::{Duration, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::prelude::*;
use ring::hmac;

use super::*;

/// When the tokens of PyJWT below expire.
const EXPIRY: u64 = 2_000_000_000;

const SECRET: &str = "a secret of the tests, 32 bytes or more";

// Made by OpenSSL 3.0.
const RSA: &str = "-----BEGIN PUBLIC KEY-----
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAu6Nm1bjki5XQvqJp4f1v
/z5Nx5XEhYlOaVoGNCDh4MPdpZ/LO36nW78nNIing0JnfrzUP2HCJtJ15y32ouPX
sm5geC+I6hdOWoyJ2kFv6hJkLU09RRONBLTpF3+OtGj1Gu4GDAqXOoA1zjAyG2Zd
LdVqgPnkmXWSNqUrQTKLK3sizl6+VbA4mDjekAWqMguq+WsjIdfr0on0N/rBHfeV
kXgybG8g7wq2s0ebn5oA90TXkUPP0muGlabVDCeAjaQhXoCBo+4vw6KkoCmaa++P
55CdQCesusIPWkn3MF1dNDW0sUulVWHs/QOMjP4PmU/wQ+UTt7sXNPUdkwPPHkWF
+QIDAQAB
-----END PUBLIC KEY-----
";
const RSA_BARE: &str = "-----BEGIN RSA PUBLIC KEY-----
MIIBCgKCAQEAu6Nm1bjki5XQvqJp4f1v/z5Nx5XEhYlOaVoGNCDh4MPdpZ/LO36n
W78nNIing0JnfrzUP2HCJtJ15y32ouPXsm5geC+I6hdOWoyJ2kFv6hJkLU09RRON
BLTpF3+OtGj1Gu4GDAqXOoA1zjAyG2ZdLdVqgPnkmXWSNqUrQTKLK3sizl6+VbA4
mDjekAWqMguq+WsjIdfr0on0N/rBHfeVkXgybG8g7wq2s0ebn5oA90TXkUPP0muG
labVDCeAjaQhXoCBo+4vw6KkoCmaa++P55CdQCesusIPWkn3MF1dNDW0sUulVWHs
/QOMjP4PmU/wQ+UTt7sXNPUdkwPPHkWF+QIDAQAB
-----END RSA PUBLIC KEY-----
";
const RSA_SHORT: &str = "-----BEGIN PUBLIC KEY-----
MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDX9besE3oHftud03oDTiPrEWwb
RPdJV+ZayoHDElOHyRjdRsMkcSkoiYlsPxkKslm8k6/WrlggtKXLiIWbqAqZx/c1
c+J/r/N8RGDCdmWfoVF+yvoFBXCTJtDGM9XQhjtFlh4lzzi3bdhp7V4KabSCEeyD
leS8gGxZLmFhjBTKiQIDAQAB
-----END PUBLIC KEY-----
";
const P256: &str = "-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEGpjHS1pouyzy8azWojPzDlE4IeSi
tUkYcByCDY80K6anpiAcJGQnYuCvDXp0EzYiqV6wOxH3tpV92XfjIori0g==
-----END PUBLIC KEY-----
";
const P384: &str = "-----BEGIN PUBLIC KEY-----
MHYwEAYHKoZIzj0CAQYFK4EEACIDYgAE2QUn+T8zerRAJHzp4hXqsurzthrC3cJR
5koInIEd9d9N6qid3Jeag43cFamfM7FXCUUFn2PbibxefJfNAq5fBsM4YcTrm9/p
9nqzMpifaCFyPPhrKxIs3JAsvltCsUQ2
-----END PUBLIC KEY-----
";
const ED25519: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAs3kprBJCbCdxndiaNqu5RYoilrn14EJRh3LBk8bfU6M=
-----END PUBLIC KEY-----
";
const ED448: &str = "-----BEGIN PUBLIC KEY-----
MEMwBQYDK2VxAzoAMM71ZObZOVHstZ4/ejl+r87Ec8K1tSMuC+fncElD7sEYlTc6
VQG4Asbya46uCLLyVtnnVzJ9O12A
-----END PUBLIC KEY-----
";
const PRIVATE: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIFY5F9PiggOrqWwcc7Df+C0oFHXrkbaiD+KGhCn1YYhg
-----END PRIVATE KEY-----
";
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----
MIIBbDCCAROgAwIBAgIUHIyfnvNZxRgrIX6sBtWKBrGshkQwCgYIKoZIzj0EAwIw
DDEKMAgGA1UEAwwBeDAeFw0yNjExMjcxODAwMjFaFw0zNjExMjQxODAwMjFaMAwx
CjAIBgNVBAMMAXgwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQamMdLWmi7LPLx
rNaiM/MOUTgh5KK1SRhwHIINjzQrpqemIBwkZCdi4K8NenQTNiKpXrA7Efe2lX3Z
d+MiiuLSo1MwUTAdBgNVHQ4EFgQUG0J8x3ut4rPl7/H30nsFxPUPVuEwHwYDVR0j
BBgwFoAUG0J8x3ut4rPl7/H30nsFxPUPVuEwDwYDVR0TAQH/BAUwAwEB/zAKBggq
hkjOPQQDAgNHADBEAiBbl0At6lo1ElpexA9yZEVfS5n/E49oSoh26ck5RYYnnAIg
a/DUVNplJIYAhfKWlRVcVB+X6svhAkZoLxWrFXmtBEY=
-----END CERTIFICATE-----
";

// Made by PyJWT 2.15 of {"sub": "ann", "rooms": ["team-1", "team-2"], "exp": 2000000000}.
const BY_HS256: &str = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJyb29tcyI6WyJ0ZWFtLTEiLCJ0ZWFtLTIiXSwiZXhwIjoyMDAwMDAwMDAwfQ.bprchnl82Y8SvMxXJRXFTb0w-1eriAzn_fSbK1q3-WE";
const BY_RS256: &str = "eyJhbGciOiJSUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJyb29tcyI6WyJ0ZWFtLTEiLCJ0ZWFtLTIiXSwiZXhwIjoyMDAwMDAwMDAwfQ.e9GUWvLh8QyZU8qeM1J2n8M0rTmt1p3rgnCd1O_Hh6qLyF3unoloLD7R7IWqAy3uTiXtebd5ZMNZCb_zKVgmXK7sOOtLuuwUjusQdgOCUknOooCwldOD_oYSnLg-Pu7zAm2SuSb86n9yjFjEu0P4pkfYNDkmPECPGXmPN0-GvH5TuDZHsNIXNGsLp45QYldmB04U9tmuOsdEqtSnPHFqIEhI2S2a-1WsKoCoJz8aoYT4OP4C5pZotZsyarjGbkDhGlJh2_mSUHNKbQlAphU1NmQT8H_-AOenbya1OcOdT4ZyrwP8n1c7di1d_LoLhIbW40ezRogdRvFbDsQMSetLKg";
const BY_ES256: &str = "eyJhbGciOiJFUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJyb29tcyI6WyJ0ZWFtLTEiLCJ0ZWFtLTIiXSwiZXhwIjoyMDAwMDAwMDAwfQ.4hr8M7St-RC-aDGAg7i8F3UkNfz5csK51DghHjv2qJA3s2jDFE_0N1LNJCKbSlzLWyc9ZeqQP3RArBscrYrPdw";
const BY_EDDSA: &str = "eyJhbGciOiJFZERTQSIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJyb29tcyI6WyJ0ZWFtLTEiLCJ0ZWFtLTIiXSwiZXhwIjoyMDAwMDAwMDAwfQ.iBoRdWo3kgbhnmsauoRkrM4_hc4X_LcjeCpF_H64Ix6qebRxFpOrpo5upIhEjmeXY--19ZXbBXwiOQgwpqTvCA";
const BY_NONE: &str = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.eyJzdWIiOiJhbm4iLCJyb29tcyI6WyJ0ZWFtLTEiLCJ0ZWFtLTIiXSwiZXhwIjoyMDAwMDAwMDAwfQ.";
const BY_HS512: &str = "eyJhbGciOiJIUzUxMiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJyb29tcyI6WyJ0ZWFtLTEiLCJ0ZWFtLTIiXSwiZXhwIjoyMDAwMDAwMDAwfQ.GQ81LxPm90Zx5WR6RhcixQuuBoumABcjB_4Cus5aOTPZAPDRJyPFqEvyHJMaaLHvXLji9obXrheLQEgTPxF5VQ";
const BY_PS256: &str = "eyJhbGciOiJQUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJhbm4iLCJyb29tcyI6WyJ0ZWFtLTEiLCJ0ZWFtLTIiXSwiZXhwIjoyMDAwMDAwMDAwfQ.kWcAIE_-u7F2oGvPwHXbj0wsT-IP8usPrOl6Gj_zhKqrTyMDILBoBX6gez8I7RZy8pfsJfrN6tVlItaUDPPmuPOBe7X4t4jMBC11dSbMpbHIkoahyBCz2uykHGCYvZ6Z-c9PS6JX1HccvqUY28CAmCxa3wchEX-BgattPhgid-h1WDq7fS_XT6LMMHzChtIkXkq0Cz02E2TYwZ83BpMdua4YSmFBtBd_x7Q64Da50HAjBJrqD4YhMLAjCGLaFn2TocV2O0qSqEAdh52B2XNYTTbGLxNTlEfMig6fiOFmpcG2y3NG-oU76Igdx_XT4AC-pn4THjq4YKKzZ1oBMuYJxQ";

fn key(algorithm: Algorithm, text: &str) -> JwtKey {
    JwtKey::new(algorithm, text).unwrap()
}

fn accepts(key: JwtKey) -> Jwt {
    Jwt {
        key,
        leeway: Duration::ZERO,
        issuer: None,
        audience: None,
        user: "sub".into(),
        rooms: Some("rooms".into()),
    }
}

fn shared() -> Jwt {
    accepts(key(Algorithm::Hs256, SECRET))
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A token signed with [`SECRET`], whatever its header says.
fn sign(header: &str, claims: &str) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// What becomes of a token with these claims at second 1000.
fn claims(jwt: &Jwt, claims: &str) -> Result<Identity, Denial> {
    jwt.verify(&sign(r#"{"alg":"HS256"}"#, claims), at(1000))
}

/// The four keys, each with the token that it has signed.
fn pairs() -> [(Jwt, &'static str); 4] {
    [
        (shared(), BY_HS256),
        (accepts(key(Algorithm::Rs256, RSA)), BY_RS256),
        (accepts(key(Algorithm::Es256, P256)), BY_ES256),
        (accepts(key(Algorithm::EdDsa, ED25519)), BY_EDDSA),
    ]
}

#[test]
fn tokens_of_another_implementation_are_accepted_until_they_expire() {
    let ann = Identity {
        user: Some("ann".into()),
        rooms: vec!["team-1".into(), "team-2".into()],
    };
    for (jwt, token) in pairs() {
        assert_eq!(jwt.verify(token, at(EXPIRY - 1)), Ok(ann.clone()), "{jwt:?}");
        assert_eq!(jwt.verify(token, at(EXPIRY)), Err(Denial::Expired), "{jwt:?}");
        let lenient = Jwt {
            leeway: Duration::from_secs(30),
            ..jwt
        };
        assert_eq!(lenient.verify(token, at(EXPIRY + 29)), Ok(ann.clone()));
        assert_eq!(lenient.verify(token, at(EXPIRY + 30)), Err(Denial::Expired));
    }
    assert_eq!(
        key(Algorithm::Rs256, RSA),
        key(Algorithm::Rs256, RSA_BARE),
        "the same key, with and without its wrapping"
    );
}

#[test]
fn a_token_of_another_algorithm_or_key_is_refused() {
    for (n, (jwt, _)) in pairs().into_iter().enumerate() {
        for (m, (_, token)) in pairs().into_iter().enumerate() {
            let outcome = jwt.verify(token, at(0));
            assert_eq!(outcome.is_ok(), n == m, "{jwt:?} {token}");
            assert!(n == m || outcome == Err(Denial::Invalid(Flaw::Algorithm)));
        }
        for token in [BY_NONE, BY_HS512, BY_PS256] {
            assert_eq!(jwt.verify(token, at(0)), Err(Denial::Invalid(Flaw::Algorithm)), "{jwt:?} {token}");
        }
    }
    let stranger = accepts(key(Algorithm::Hs256, "another secret of the tests, as long as that"));
    assert_eq!(stranger.verify(BY_HS256, at(0)), Err(Denial::Invalid(Flaw::Signature)));
}

/// The classic: the attacker knows the public key, signs with it as the secret, and writes HS256 into the header; or writes nothing.
#[test]
fn a_public_key_is_never_a_secret_and_no_signature_is_no_signature() {
    for (jwt, _) in pairs().into_iter().skip(1) {
        for secret in [RSA, P256, ED25519, RSA.trim()] {
            for header in [r#"{"alg":"HS256"}"#, &format!(r#"{{"alg":"{}"}}"#, jwt.key.algorithm().name())] {
                let message = format!(
                    "{}.{}",
                    URL_SAFE_NO_PAD.encode(header),
                    URL_SAFE_NO_PAD.encode(r#"{"sub":"root","exp":2000000000}"#)
                );
                let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message.as_bytes());
                let forged = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
                assert!(matches!(jwt.verify(&forged, at(0)), Err(Denial::Invalid(_))), "{jwt:?} {header}");
            }
        }
    }
    let (unsigned, _) = BY_HS256.rsplit_once('.').unwrap();
    for none in ["none", "None", "NONE", "nOnE", "", "HS256 ", "hs256"] {
        let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{none}"}}"#));
        let claims = unsigned.split_once('.').unwrap().1;
        for signature in ["", BY_HS256.rsplit_once('.').unwrap().1] {
            let token = format!("{header}.{claims}.{signature}");
            assert_eq!(
                shared().verify(&token, at(0)),
                Err(Denial::Invalid(Flaw::Algorithm)),
                "{none:?} {signature:?}"
            );
        }
    }
    assert_eq!(
        shared().verify(&format!("{unsigned}."), at(0)),
        Err(Denial::Invalid(Flaw::Signature))
    );
}

#[test]
fn what_is_no_token_is_refused() {
    for token in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "a.b",
        "e30.e30.e30",
        "e30.e30.e30.e30",
        "\u{e9}.\u{e9}.\u{e9}",
        "null",
        "bnVsbA.bnVsbA.bnVsbA",
        "eyJhbGciOiJIUzI1NiIsImFsZyI6IkhTMjU2In0.e30.e30",
        "eyJhbGciOiJIUzI1NiJ9=.e30.e30",
    ] {
        assert_eq!(shared().verify(token, at(0)), Err(Denial::Invalid(Flaw::Malformed)), "{token:?}");
    }
    let verify = |token: &str| shared().verify(token, at(0));
    assert_eq!(
        verify(&sign(r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, r#"{"exp":1}"#)),
        Err(Denial::Invalid(Flaw::Extension))
    );
    for claims in ["[]", "null", "1", "{", "", r#"{"exp":1}x"#] {
        assert_eq!(
            verify(&sign(r#"{"alg":"HS256"}"#, claims)),
            Err(Denial::Invalid(Flaw::Malformed)),
            "{claims}"
        );
    }
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    assert_eq!(verify(&sign(&deep, "{}")), Err(Denial::Invalid(Flaw::Malformed)));
    let login = Login {
        from: vec![TokenPlace::Auth],
        token: Token::Jwt(shared()),
    };
    let long = sign(
        r#"{"alg":"HS256"}"#,
        &format!(r#"{{"exp":2000000000,"x":"{}"}}"#, "x".repeat(MAX_TOKEN)),
    );
    assert!(shared().verify(&long, at(0)).is_ok(), "its length is all that is wrong with it");
    assert_eq!(Verifier::new(&login).verify(&long, at(0)), Err(Denial::Invalid(Flaw::Length)));
}

#[test]
fn times_are_numbers_and_an_expiry_there_must_be() {
    for (text, expected) in [
        (r#"{"exp":1001}"#, Ok(())),
        (r#"{"exp":1000.5}"#, Ok(())),
        (r#"{"exp":1e300}"#, Ok(())),
        (r#"{"exp":1000}"#, Err(Denial::Expired)),
        (r#"{"exp":-1}"#, Err(Denial::Expired)),
        ("{}", Err(Denial::Invalid(Flaw::NoExpiry))),
        (r#"{"exp":null}"#, Err(Denial::Invalid(Flaw::NoExpiry))),
        (r#"{"exp":"2000"}"#, Err(Denial::Invalid(Flaw::NoExpiry))),
        (r#"{"exp":2000,"nbf":1000}"#, Ok(())),
        (r#"{"exp":2000,"nbf":1001}"#, Err(Denial::Early)),
        (r#"{"exp":2000,"nbf":"now"}"#, Err(Denial::Invalid(Flaw::NotBefore))),
    ] {
        assert_eq!(claims(&shared(), text).map(drop), expected, "{text}");
    }
    let endless = Jwt {
        leeway: Duration::MAX,
        ..shared()
    };
    assert!(claims(&endless, r#"{"exp":1,"nbf":2000}"#).is_ok());
    assert_eq!(
        shared().verify(&sign(r#"{"alg":"HS256"}"#, r#"{"exp":1}"#), UNIX_EPOCH - Duration::from_secs(9)),
        Ok(Identity::default()),
        "a clock before its time"
    );
}

#[test]
fn issuer_and_audience_are_those_configured() {
    let strict = Jwt {
        issuer: Some("https://issuer.example".into()),
        audience: Some("chat".into()),
        ..shared()
    };
    for (text, expected) in [
        (r#"{"exp":2000,"iss":"https://issuer.example","aud":"chat"}"#, Ok(())),
        (r#"{"exp":2000,"iss":"https://issuer.example","aud":["mail","chat"]}"#, Ok(())),
        (r#"{"exp":2000,"iss":"https://issuer.example/","aud":"chat"}"#, Err(Flaw::Issuer)),
        (r#"{"exp":2000,"iss":["https://issuer.example"],"aud":"chat"}"#, Err(Flaw::Issuer)),
        (r#"{"exp":2000,"aud":"chat"}"#, Err(Flaw::Issuer)),
        (r#"{"exp":2000,"iss":"https://issuer.example"}"#, Err(Flaw::Audience)),
        (r#"{"exp":2000,"iss":"https://issuer.example","aud":"cha"}"#, Err(Flaw::Audience)),
        (
            r#"{"exp":2000,"iss":"https://issuer.example","aud":[["chat"]]}"#,
            Err(Flaw::Audience),
        ),
        (
            r#"{"exp":2000,"iss":"https://issuer.example","aud":{"chat":1}}"#,
            Err(Flaw::Audience),
        ),
    ] {
        assert_eq!(claims(&strict, text).map(drop), expected.map_err(Denial::Invalid), "{text}");
    }
    assert_eq!(
        claims(&shared(), r#"{"exp":2000,"aud":"mail"}"#),
        Err(Denial::Invalid(Flaw::Audience)),
        "a token for somebody else"
    );
}

#[test]
fn the_claims_say_who_it_is_and_where() {
    let identity = |text: &str| claims(&shared(), text);
    let named = |user: &str| {
        Ok(Identity {
            user: Some(user.to_owned()),
            rooms: Vec::new(),
        })
    };
    let of = |rest: &str| format!(r#"{{"exp":2000,{rest}}}"#);
    assert_eq!(identity(r#"{"exp":2000}"#), Ok(Identity::default()));
    assert_eq!(identity(&of(r#""sub":null,"rooms":null"#)), Ok(Identity::default()));
    assert_eq!(identity(&of(r#""sub":"*""#)), named("*"));
    assert_eq!(identity(&of(r#""sub":4711"#)), named("4711"));
    assert_eq!(identity(&of(r#""sub":18446744073709551615"#)), named("18446744073709551615"));
    for user in [r#""""#, "1.5", "true", "{}", r#"["ann"]"#, &format!(r#""{}""#, "x".repeat(129))] {
        assert_eq!(identity(&of(&format!(r#""sub":{user}"#))), Err(Denial::Claims), "{user}");
    }
    for rooms in [
        r#""lobby""#,
        r#"[1]"#,
        r#"["_admin"]"#,
        r#"["AAAAbm9kZV9zb2NrZXQx"]"#,
        r#"[""]"#,
        &format!(r#"["{}"]"#, "x".repeat(129)),
    ] {
        assert_eq!(identity(&of(&format!(r#""rooms":{rooms}"#))), Err(Denial::Claims), "{rooms}");
    }
    let many = |count: usize| of(&format!(r#""rooms":{:?}"#, vec!["r"; count]));
    assert_eq!(identity(&many(MAX_ROOMS)).map(|identity| identity.rooms.len()), Ok(MAX_ROOMS));
    assert_eq!(identity(&many(MAX_ROOMS + 1)), Err(Denial::Claims));

    let other = Jwt {
        user: "email".into(),
        rooms: None,
        ..shared()
    };
    let text = of(r#""sub":"x","email":"ann@example.org","rooms":["_admin"]"#);
    assert_eq!(
        claims(&other, &text),
        named("ann@example.org"),
        "claims that are not asked for say nothing"
    );
}

#[test]
fn keys_are_read_or_refused_with_what_was_expected() {
    use Algorithm::{EdDsa, Es256, Hs256, Rs256};
    for (algorithm, text, expected) in [
        (Hs256, "short", KeyError::Secret),
        (Hs256, RSA, KeyError::PemSecret),
        (Rs256, SECRET, KeyError::NoPem),
        (Rs256, "", KeyError::NoPem),
        (EdDsa, PRIVATE, KeyError::Private),
        (Es256, CERTIFICATE, KeyError::Certificate),
        (
            Es256,
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
            KeyError::Unreadable,
        ),
        (
            Es256,
            "-----BEGIN PUBLIC KEY-----\n!\n-----END PUBLIC KEY-----",
            KeyError::Unreadable,
        ),
        (Es256, "-----BEGIN PUBLIC KEY-----\nAAAA", KeyError::Unreadable),
    ] {
        assert_eq!(JwtKey::new(algorithm, text), Err(expected), "{algorithm:?} {text}");
    }
    for (algorithm, fitting) in [(Rs256, RSA), (Es256, P256), (EdDsa, ED25519)] {
        for text in [RSA, RSA_BARE, RSA_SHORT, P256, P384, ED25519, ED448] {
            match JwtKey::new(algorithm, text) {
                Ok(_) => assert!(text == fitting || (text == RSA_BARE && algorithm == Rs256), "{algorithm:?} {text}"),
                Err(error) => assert!(
                    text != fitting && matches!(error, KeyError::Other(_)),
                    "{algorithm:?} {text} {error}"
                ),
            }
        }
    }
    assert_eq!(
        key(Hs256, SECRET),
        key(Hs256, &format!("{SECRET}\r\n")),
        "a file ends with a line break"
    );
    assert_eq!(StaticKey::new("fifteen letters"), Err(KeyError::Static));
    assert_eq!(StaticKey::new(ED25519), Err(KeyError::PemStatic));
}

#[test]
fn static_keys_let_in_who_shows_one_of_them_and_name_nobody() {
    let keys = ["first key of two, long", "second key of two, long"];
    let login = Login {
        from: vec![TokenPlace::Auth],
        token: Token::Keys(keys.iter().map(|key| StaticKey::new(key).unwrap()).collect()),
    };
    let verifier = Verifier::new(&login);
    for key in keys {
        assert_eq!(verifier.verify(key, at(0)), Ok(Identity::default()));
    }
    for other in [
        "",
        "first key of two, lon",
        "first key of two, long ",
        "First key of two, long",
        BY_HS256,
    ] {
        assert_eq!(verifier.verify(other, at(0)), Err(Denial::Invalid(Flaw::Unknown)), "{other}");
    }
    for shown in [
        format!("{login:?} {verifier:?}"),
        format!("{:?}", key(Algorithm::Hs256, SECRET)),
        format!("{:?}", shared()),
    ] {
        assert!(!shown.contains("key of two") && !shown.contains("secret of"), "{shown}");
    }
}

proptest! {
    /// No byte of a token is without meaning.
    #[test]
    fn a_token_that_was_changed_anywhere_is_refused(pair in 0..4usize, at_byte in 0..500usize, to in "[A-Za-z0-9_.-]") {
        let (jwt, token) = pairs().into_iter().nth(pair).unwrap();
        let at_byte = at_byte % token.len();
        let mut changed = token.to_owned();
        changed.replace_range(at_byte..=at_byte, &to);
        prop_assume!(changed != token);
        prop_assert!(matches!(jwt.verify(&changed, at(0)), Err(Denial::Invalid(_))), "{changed}");
    }

    #[test]
    fn no_text_panics(token in "\\PC{0,80}", pair in 0..4usize) {
        let (jwt, _) = pairs().into_iter().nth(pair).unwrap();
        prop_assert!(jwt.verify(&token, at(0)).is_err());
    }

    #[test]
    fn no_key_panics(bytes in proptest::collection::vec(any::<u8>(), 0..80), place in 0..400usize, to in any::<u8>()) {
        use base64::engine::general_purpose::STANDARD;
        let wrapped = |bytes: &[u8]| format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(bytes));
        let body: String = RSA.lines().filter(|line| !line.starts_with('-')).collect();
        let mut changed = STANDARD.decode(body).unwrap();
        let place = place % changed.len();
        changed[place] = to;
        for algorithm in [Algorithm::Rs256, Algorithm::Es256, Algorithm::EdDsa] {
            let _read = JwtKey::new(algorithm, &wrapped(&bytes)).is_ok();
            if let Ok(key) = JwtKey::new(algorithm, &wrapped(&changed)) {
                let _verified = accepts(key).verify(BY_RS256, at(0)).is_ok();
            }
        }
    }
}
