//! The array `namespace`: what clients may do, for the broker.

mod decoder;
mod login;
mod rules;

use toml::de::{DeTable, DeValue};

use self::{
    decoder::{Decoder, Value},
    rules::Users,
};
use super::{
    document::Document,
    mistakes::{Mistake, Place},
    reader::NAMESPACES,
};
use crate::broker::{Delivery, NamespaceName, NamespaceRules, Rules, Token};

const NAMESPACE_KEYS: [&str; 5] = ["name", "delivery", "connect", "on_connect", "rule"];

/// Reads the namespaces of the variable, or of the file when there is no variable; both are checked.
pub(super) fn read(document: Option<&Document<'_>>, variable: Option<&str>, mistakes: &mut Vec<Mistake>) -> Rules {
    let file = document
        .and_then(|document| Some((document, document.namespaces()?)))
        .map(|(document, value)| {
            let mut decoder = Decoder {
                place: &|offset| document.place(offset),
                mistakes,
            };
            decoder.rules(value)
        });
    let variable = variable.map(|text| {
        let place = Place::Variable(NAMESPACES.to_owned());
        match DeValue::parse(text) {
            Ok(value) => Decoder {
                place: &|_| place.clone(),
                mistakes,
            }
            .rules(&value),
            Err(error) => {
                let text = format!(
                    "not TOML: {}; expected an array such as [{{ name = \"/\", rule = [{{ event = \"chat\", action = \"emit\" }}] }}]",
                    error.message().trim()
                );
                mistakes.push(Mistake {
                    place,
                    key: "namespace".to_owned(),
                    text,
                });
                Rules::default()
            }
        }
    });
    variable.or(file).unwrap_or_default()
}

impl Decoder<'_> {
    fn rules(&mut self, value: &Value<'_>) -> Rules {
        let mut rules = Rules::default();
        let tables = self.tables("namespace", value, "an array of tables: write [[namespace]] and its keys below");
        for (at, table) in tables {
            let namespace = self.namespace(at, table);
            if rules.namespaces.iter().any(|other| other.name == namespace.name) {
                self.mistake(at, "namespace.name", format!("{} is declared twice", namespace.name));
            } else {
                rules.namespaces.push(namespace);
            }
        }
        rules
    }

    fn namespace(&mut self, at: usize, table: &DeTable<'_>) -> NamespaceRules {
        self.unknown("namespace", table, &NAMESPACE_KEYS);
        let mut namespace = NamespaceRules::default();
        let Some(name) = self.needed(at, "namespace", "name", table, "a namespace such as \"/\" or \"/chat\"") else {
            return namespace;
        };
        if let Some(name) = self.text("namespace.name", name, NamespaceName::new) {
            namespace.name = name;
        }
        if let Some(value) = table.get("delivery")
            && let Some(delivery) = self.delivery(value)
        {
            namespace.delivery = delivery;
            if delivery == Delivery::Recoverable && namespace.name.is_pattern() {
                let text = format!(
                    "{} is a pattern: only namespaces with a name of their own can be recoverable",
                    namespace.name
                );
                self.mistake(value.span().start, "namespace.delivery", text);
            }
        }
        let login = table.get("connect").map(|connect| self.connect(connect));
        let users = match &login {
            None => Users::Unknown("nobody logs in here: without namespace.connect.token there is no user"),
            Some(Some(login)) if matches!(login.token, Token::Keys(_)) => {
                Users::Unknown("static keys name no user: only tokens with an algorithm do")
            }
            Some(_) => Users::Known,
        };
        namespace.login = login.flatten();
        if let Some(value) = table.get("on_connect") {
            for (at, table) in self.tables(
                "namespace.on_connect",
                value,
                "an array of tables such as [{ event = \"news\", data = { hello = \"world\" } }]",
            ) {
                namespace.on_connect.extend(self.greeting(at, table));
            }
        }
        if let Some(value) = table.get("rule") {
            for (at, table) in self.tables(
                "namespace.rule",
                value,
                "an array of tables: write [[namespace.rule]] and its keys below",
            ) {
                let Some(rule) = self.rule(at, table, users) else { continue };
                if namespace.rules.iter().any(|other| other.event == rule.event) {
                    self.mistake(
                        at,
                        "namespace.rule.event",
                        format!("{:?} has a rule already in this namespace", rule.event.as_str()),
                    );
                } else {
                    namespace.rules.push(rule);
                }
            }
        }
        namespace
    }
}
