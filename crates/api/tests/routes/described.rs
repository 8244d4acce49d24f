//! Holds an answer against an OpenAPI document: its status, its code, and every member of its body.
//!
//! A small reader of JSON Schema, of the words that the document uses; one that it does not know fails.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// A document, as the router hands it out.
pub struct Described(pub Value);

const METHODS: [&str; 5] = ["get", "post", "patch", "put", "delete"];

/// One route with one method.
pub struct Operation<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub says: &'a Value,
}

impl Operation<'_> {
    /// The role that it needs, if it needs a token.
    pub fn role(&self) -> Option<&str> {
        self.says["security"][0]["token"][0].as_str()
    }
}

impl Described {
    pub fn operations(&self) -> Vec<Operation<'_>> {
        let mut all = Vec::new();
        for (path, item) in self.0["paths"].as_object().unwrap() {
            for (method, says) in item.as_object().unwrap() {
                assert!(METHODS.contains(&method.as_str()), "{method} {path}");
                all.push(Operation { method, path, says });
            }
        }
        all
    }

    fn operation(&self, method: &str, path: &str) -> Option<Operation<'_>> {
        let fits = |template: &str| {
            let (mut asked, mut known) = (path.split('/'), template.split('/'));
            loop {
                match (asked.next(), known.next()) {
                    (None, None) => return true,
                    (Some(part), Some(known))
                        if part == known || (known.starts_with('{') && !part.is_empty()) => {}
                    _ => return false,
                }
            }
        };
        let mut found: Vec<_> =
            self.operations().into_iter().filter(|op| op.method == method && fits(op.path)).collect();
        // What is spelled out comes before what stands for anything.
        found.sort_by_key(|op| op.path.matches('{').count());
        found.into_iter().next()
    }

    /// Panics if the document does not allow this answer. What is not described is not looked at: other methods and
    /// paths, and what devices use.
    #[track_caller]
    pub fn allows(&self, method: &str, path: &str, status: u16, content_type: Option<&str>, body: &[u8]) {
        let method = method.to_ascii_lowercase();
        let Some(operation) = self.operation(&method, path) else { return };
        let what =
            format!("{method} {path}: {status} {}", String::from_utf8_lossy(&body[..body.len().min(2_000)]));
        let mut response = &operation.says["responses"][status.to_string()];
        if let Some(name) =
            response["$ref"].as_str().and_then(|to| to.strip_prefix("#/components/responses/"))
        {
            response = &self.0["components"]["responses"][name];
        }
        assert!(!response.is_null(), "the document has no such status: {what}");
        let Some(contents) = response["content"].as_object() else {
            assert!(body.is_empty(), "the document describes no body: {what}");
            return;
        };
        let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let Some(content) = contents.get(essence) else {
            panic!("the document describes no {essence}: {what}");
        };
        if essence == "application/json" {
            let value = serde_json::from_slice(body).unwrap_or_else(|error| panic!("{error}: {what}"));
            if let Err(problem) = self.fits(&value, &content["schema"], "") {
                panic!("the document does not describe it: {problem}: {what}");
            }
            let mut more = Vec::new();
            self.undescribed(&value, &content["schema"], "", &mut more);
            assert!(more.is_empty(), "the document does not describe {more:?}: {what}");
        }
    }

    /// Whether a value fits a schema, and if not, what does not.
    pub fn fits(&self, value: &Value, schema: &Value, at: &str) -> Result<(), String> {
        let schema = schema.as_object().ok_or_else(|| format!("{at}: {schema} is no schema"))?;
        for (word, says) in schema {
            match word.as_str() {
                "$ref" => {
                    let name = says.as_str().unwrap().strip_prefix("#/components/schemas/").unwrap();
                    let known = &self.0["components"]["schemas"][name];
                    if known.is_null() {
                        return Err(format!("{at}: there is no schema {name}"));
                    }
                    self.fits(value, known, at)?;
                }
                "type" => is_of_type(value, says).map_err(|problem| format!("{at}: {problem}"))?,
                "enum" => {
                    if !says.as_array().unwrap().contains(value) {
                        return Err(format!("{at}: {value} is none of {says}"));
                    }
                }
                "allOf" => says.as_array().unwrap().iter().try_for_each(|each| self.fits(value, each, at))?,
                "oneOf" => {
                    let tried: Vec<_> =
                        says.as_array().unwrap().iter().map(|each| self.fits(value, each, at)).collect();
                    if tried.iter().filter(|tried| tried.is_ok()).count() != 1 {
                        return Err(format!("{at}: not exactly one fits: {tried:?}"));
                    }
                }
                "properties" => self.members_fit(value, schema, says.as_object().unwrap(), at)?,
                "required" => {
                    for name in says.as_array().unwrap() {
                        if value.is_object() && value.get(name.as_str().unwrap()).is_none() {
                            return Err(format!("{at}: {name} is missing"));
                        }
                    }
                }
                "items" => {
                    for (nth, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.fits(item, says, &format!("{at}[{nth}]"))?;
                    }
                }
                "additionalProperties" if says.is_object() => {
                    for (name, member) in value.as_object().into_iter().flatten() {
                        self.fits(member, says, &format!("{at}.{name}"))?;
                    }
                }
                "minimum" | "maximum" => {
                    let (is, bound) = (value.as_f64(), says.as_f64().unwrap());
                    if is.is_some_and(|is| if word == "minimum" { is < bound } else { is > bound }) {
                        return Err(format!("{at}: {value} is beyond {bound}"));
                    }
                }
                "minLength" | "maxLength" | "minItems" | "maxItems" => {
                    let is = if word.ends_with("Length") {
                        value.as_str().map(|text| text.chars().count())
                    } else {
                        value.as_array().map(Vec::len)
                    };
                    let bound = usize::try_from(says.as_u64().unwrap()).unwrap();
                    if is.is_some_and(|is| if word.starts_with("min") { is < bound } else { is > bound }) {
                        return Err(format!("{at}: {word} is {bound}, and it has {is:?}"));
                    }
                }
                "format" if says == "date-time" => {
                    if let Some(text) = value.as_str() {
                        let form: String =
                            text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
                        if form != "0000-00-00T00:00:00.000Z" {
                            return Err(format!("{at}: {text} is no time"));
                        }
                    }
                }
                "format" | "pattern" | "description" | "propertyNames" | "title" => {}
                other => return Err(format!("{at}: the tests do not know the word {other}")),
            }
        }
        Ok(())
    }

    fn members_fit(
        &self,
        value: &Value,
        schema: &Map<String, Value>,
        properties: &Map<String, Value>,
        at: &str,
    ) -> Result<(), String> {
        let Some(members) = value.as_object() else { return Ok(()) };
        let required: BTreeSet<&str> = schema
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        for (name, says) in properties {
            let Some(member) = members.get(name) else { continue };
            if member.is_null() && schema.contains_key("type") && !required.contains(name.as_str()) {
                return Err(format!(
                    "{at}.{name} is null, so that it is always there: it wants #[schema(required)], or to be left out"
                ));
            }
            self.fits(member, says, &format!("{at}.{name}"))?;
        }
        Ok(())
    }

    /// The members of an answer that the document does not name.
    pub fn undescribed(&self, value: &Value, schema: &Value, at: &str, found: &mut Vec<String>) {
        let mut names = BTreeSet::new();
        let mut open = false;
        self.names(schema, &mut names, &mut open);
        if let Some(members) = value.as_object()
            && !open
        {
            found.extend(
                members.keys().filter(|name| !names.contains(*name)).map(|name| format!("{at}.{name}")),
            );
            for (name, member) in members {
                if let Some(says) = self.member(schema, name) {
                    self.undescribed(member, says, &format!("{at}.{name}"), found);
                }
            }
        }
        if let Some(says) = self.resolved(schema).get("items") {
            for item in value.as_array().into_iter().flatten() {
                self.undescribed(item, says, &format!("{at}[]"), found);
            }
        }
    }

    fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str().and_then(|to| to.strip_prefix("#/components/schemas/")) {
            Some(name) => &self.0["components"]["schemas"][name],
            None => schema,
        }
    }

    fn parts<'a>(&'a self, schema: &'a Value) -> Vec<&'a Value> {
        let schema = self.resolved(schema);
        let several = ["allOf", "oneOf"].into_iter().filter_map(|word| schema[word].as_array()).flatten();
        several.map(|part| self.resolved(part)).chain([schema]).collect()
    }

    fn names(&self, schema: &Value, names: &mut BTreeSet<String>, open: &mut bool) {
        let mut described = false;
        for part in self.parts(schema) {
            described |= part["properties"].is_object();
            names.extend(part["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()));
        }
        *open |= !described;
    }

    fn member<'a>(&'a self, schema: &'a Value, name: &str) -> Option<&'a Value> {
        self.parts(schema).into_iter().find_map(|part| part["properties"].get(name))
    }
}

fn is_of_type(value: &Value, says: &Value) -> Result<(), String> {
    let is = |kind: &str| match kind {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is no type"),
    };
    let fits = match says.as_array() {
        Some(kinds) => kinds.iter().any(|kind| is(kind.as_str().unwrap())),
        None => is(says.as_str().unwrap()),
    };
    if fits { Ok(()) } else { Err(format!("{value} is no {says}")) }
}
