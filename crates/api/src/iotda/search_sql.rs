//! The language in which applications search for devices, read into what was asked.
//!
//! ```text
//! select * from device [where CONDITIONS] [order by marker [asc | desc]] [limit [OFFSET,] ROWS]
//! select count(*) from device [where CONDITIONS]
//!
//! CONDITIONS  up to five, joined by `and` and `or`; `and` binds tighter, and there are no parentheses around them
//! CONDITION   FIELD = 'TEXT' | != | > | < | like 'PREFIX%' | [not] in ('TEXT', …)
//! ```
//!
//! Always true:
//! - Every text is read or refused: nothing in it ends the process, and nothing of it is passed over.
//! - A refusal says what is wrong and what is accepted.
//!
//! Not here: what a field means, and whether a value can be one of it (`search`).

/// Longest text that is read, in characters.
pub(super) const CHARS_MAX: usize = 400;
/// Conditions in one search.
pub(super) const CONDITIONS_MAX: usize = 5;
/// What is left out is walked over, so that there is an end to it.
pub(super) const OFFSET_MAX: u32 = 500;
pub(super) const ROWS_MAX: u32 = 50;
const ROWS_DEFAULT: u32 = 10;
/// A shorter prefix would hold for too many.
pub(super) const PREFIX_CHARS_MIN: usize = 4;

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Search {
    pub(super) what: What,
    /// Alternatives, each of conditions that hold together; a single one without conditions is everything.
    pub(super) any: Vec<Vec<Condition>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Count,
    Rows { oldest_first: bool, offset: u32, rows: u32 },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) field: Field,
    pub(super) is: Is,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Is {
    /// One of these, or none of them.
    OneOf {
        not: bool,
        texts: Vec<String>,
    },
    Above(String),
    Below(String),
    Begins(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    AppId,
    DeviceId,
    GatewayId,
    ProductId,
    DeviceName,
    NodeId,
    Status,
    NodeType,
    TagKey,
    TagValue,
    SwVersion,
    FwVersion,
    GroupId,
    CreateTime,
    Marker,
}

impl Field {
    pub(super) const ALL: [Field; 15] = [
        Field::AppId,
        Field::DeviceId,
        Field::GatewayId,
        Field::ProductId,
        Field::DeviceName,
        Field::NodeId,
        Field::Status,
        Field::NodeType,
        Field::TagKey,
        Field::TagValue,
        Field::SwVersion,
        Field::FwVersion,
        Field::GroupId,
        Field::CreateTime,
        Field::Marker,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Field::AppId => "app_id",
            Field::DeviceId => "device_id",
            Field::GatewayId => "gateway_id",
            Field::ProductId => "product_id",
            Field::DeviceName => "device_name",
            Field::NodeId => "node_id",
            Field::Status => "status",
            Field::NodeType => "node_type",
            Field::TagKey => "tag_key",
            Field::TagValue => "tag_value",
            Field::SwVersion => "sw_version",
            Field::FwVersion => "fw_version",
            Field::GroupId => "group_id",
            Field::CreateTime => "create_time",
            Field::Marker => "marker",
        }
    }

    pub(super) const fn is_of_tag(self) -> bool {
        matches!(self, Field::TagKey | Field::TagValue)
    }

    const fn has_order(self) -> bool {
        matches!(self, Field::CreateTime | Field::Marker)
    }

    const fn has_prefixes(self) -> bool {
        matches!(self, Field::DeviceName | Field::NodeId) || self.is_of_tag()
    }

    /// The operators it has, in words.
    pub(super) fn operators(self) -> String {
        let mut all = "`=`, `!=`".to_owned();
        for (has, operator) in [
            (self.has_order(), "`>`, `<`"),
            (self.has_prefixes(), "`like`"),
            (!self.is_of_tag(), "`in`, `not in`"),
        ] {
            if has {
                all.push_str(", ");
                all.push_str(operator);
            }
        }
        all
    }
}

/// Reads a search; otherwise what is wrong with it and what is accepted, in a sentence.
pub(super) fn parse(sql: &str) -> Result<Search, String> {
    let chars = sql.chars().count();
    if chars > CHARS_MAX {
        return Err(format!("It has {chars} characters; at most {CHARS_MAX} are accepted."));
    }
    Parser { tokens: tokens(sql)?, at: 0 }.search()
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// A word, as it was written.
    Word(String),
    /// What was between quotes.
    Text(String),
    Number(String),
    Sign(&'static str),
}

/// Signs, the longer ones first.
const SIGNS: [&str; 13] = ["!=", "<>", ">=", "<=", "==", "=", ">", "<", "(", ")", ",", "*", ";"];

fn tokens(sql: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = sql.trim_start();
    while let Some(first) = rest.chars().next() {
        let length_while = |takes: fn(char) -> bool| rest.find(|c| !takes(c)).unwrap_or(rest.len());
        let length = if first == '\'' {
            let (text, length) = quoted(rest)?;
            tokens.push(Token::Text(text));
            length
        } else if first.is_ascii_digit() {
            let length = length_while(|c| c.is_ascii_alphanumeric() || c == '_' || c == '.');
            tokens.push(Token::Number(rest[..length].to_owned()));
            length
        } else if first.is_alphabetic() || first == '_' {
            let length = length_while(|c| c.is_alphanumeric() || c == '_');
            tokens.push(Token::Word(rest[..length].to_owned()));
            length
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            tokens.push(Token::Sign(sign));
            sign.len()
        } else if first == '"' {
            return Err("Text is between double quotes; single ones are accepted: 'text'.".to_owned());
        } else {
            return Err(format!("It contains {first:?} outside of quotes; text has to be quoted: 'text'."));
        };
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

/// What is between the quote that `rest` begins with and the next single one, and how long both are with it; two quotes are
/// one.
fn quoted(rest: &str) -> Result<(String, usize), String> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        match c {
            '\'' if chars.next_if(|(_, next)| *next == '\'').is_some() => text.push('\''),
            '\'' => return Ok((text, at + 1)),
            c if c.is_control() => {
                return Err(format!("A text contains {c:?}; text without control characters is accepted."));
            }
            c => text.push(c),
        }
    }
    Err("A text does not end; a single quote is missing.".to_owned())
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn search(&mut self) -> Result<Search, String> {
        self.word("select")?;
        let counts = if self.takes_sign("*") {
            false
        } else if self.takes_word("count") {
            for sign in ["(", "*", ")"] {
                self.sign(sign)?;
            }
            true
        } else {
            return Err(self.expected("`*` or `count(*)`"));
        };
        self.word("from")?;
        self.word("device")?;
        let any = if self.takes_word("where") { self.conditions()? } else { vec![Vec::new()] };
        let what = if counts { What::Count } else { self.rows()? };
        match (self.peek(), counts) {
            (None, _) => Ok(Search { what, any }),
            (Some(_), true) => Err(self.expected("`where` with conditions, or the end")),
            (Some(_), false) => Err(self
                .expected("`where` with conditions, `order by marker`, `limit` or the end, in this order")),
        }
    }

    fn conditions(&mut self) -> Result<Vec<Vec<Condition>>, String> {
        let (mut any, mut all, mut n) = (Vec::new(), Vec::new(), 0);
        loop {
            n += 1;
            if n > CONDITIONS_MAX {
                return Err(format!("It has more than {CONDITIONS_MAX} conditions; so many are accepted."));
            }
            all.push(self.condition()?);
            if self.takes_word("or") {
                any.push(std::mem::take(&mut all));
            } else if !self.takes_word("and") {
                any.push(all);
                return Ok(any);
            }
        }
    }

    fn condition(&mut self) -> Result<Condition, String> {
        if self.peek() == Some(&Token::Sign("(")) {
            return Err(
                "Conditions are nested; they are accepted side by side, and `and` binds before `or`."
                    .to_owned(),
            );
        }
        let field = self.field()?;
        let wrong = |parser: &Parser| {
            parser.expected(&format!("one of {} after `{}`", field.operators(), field.name()))
        };
        let is = if self.takes_sign("=") {
            Is::OneOf { not: false, texts: vec![self.text()?] }
        } else if self.takes_sign("!=") {
            Is::OneOf { not: true, texts: vec![self.text()?] }
        } else if field.has_order() && self.takes_sign(">") {
            Is::Above(self.text()?)
        } else if field.has_order() && self.takes_sign("<") {
            Is::Below(self.text()?)
        } else if field.has_prefixes() && self.takes_word("like") {
            Is::Begins(self.prefix()?)
        } else if !field.is_of_tag() && self.takes_word("in") {
            Is::OneOf { not: false, texts: self.texts()? }
        } else if !field.is_of_tag() && self.is_word("not", self.at) && self.is_word("in", self.at + 1) {
            self.at += 2;
            Is::OneOf { not: true, texts: self.texts()? }
        } else {
            return Err(wrong(self));
        };
        Ok(Condition { field, is })
    }

    fn field(&mut self) -> Result<Field, String> {
        let found = Field::ALL.into_iter().find(|field| self.is_word(field.name(), self.at));
        let Some(field) = found else {
            let names: Vec<&str> = Field::ALL.iter().map(|field| field.name()).collect();
            return Err(self.expected(&format!("one of {}", names.join(", "))));
        };
        self.at += 1;
        Ok(field)
    }

    fn text(&mut self) -> Result<String, String> {
        match self.peek().cloned() {
            Some(Token::Text(text)) => {
                self.at += 1;
                Ok(text)
            }
            Some(Token::Word(_) | Token::Number(_) | Token::Sign(_)) | None => {
                Err(self.expected("a text in single quotes"))
            }
        }
    }

    fn texts(&mut self) -> Result<Vec<String>, String> {
        self.sign("(")?;
        let mut texts = vec![self.text()?];
        while self.takes_sign(",") {
            texts.push(self.text()?);
        }
        if self.takes_sign(")") { Ok(texts) } else { Err(self.expected("`,` or `)`")) }
    }

    fn prefix(&mut self) -> Result<String, String> {
        let text = self.text()?;
        let prefix = text.strip_suffix('%').filter(|prefix| !prefix.contains('%'));
        let Some(prefix) = prefix else {
            return Err(format!(
                "`like` has {text:?}; a prefix with `%` at its end, and nowhere else, is accepted."
            ));
        };
        let chars = prefix.chars().count();
        if chars < PREFIX_CHARS_MIN {
            return Err(format!(
                "The prefix {prefix:?} has {chars} characters; at least {PREFIX_CHARS_MIN} are accepted."
            ));
        }
        Ok(prefix.to_owned())
    }

    fn rows(&mut self) -> Result<What, String> {
        let mut oldest_first = false;
        if self.takes_word("order") {
            self.word("by")?;
            self.word("marker")?;
            oldest_first = self.takes_word("asc");
            if !oldest_first {
                self.takes_word("desc");
            }
        }
        let (mut offset, mut rows) = (0, ROWS_DEFAULT);
        if self.takes_word("limit") {
            rows = self.number()?;
            if self.takes_sign(",") {
                offset = rows;
                rows = self.number()?;
            }
            if offset > OFFSET_MAX {
                return Err(format!("The offset of `limit` is {offset}; 0 to {OFFSET_MAX} are accepted."));
            }
            if !(1..=ROWS_MAX).contains(&rows) {
                return Err(format!("`limit` has {rows} rows; 1 to {ROWS_MAX} are accepted."));
            }
        }
        Ok(What::Rows { oldest_first, offset, rows })
    }

    fn number(&mut self) -> Result<u32, String> {
        let number = match self.peek() {
            Some(Token::Number(digits)) => digits.parse().ok(),
            Some(Token::Word(_) | Token::Text(_) | Token::Sign(_)) | None => None,
        };
        let number = number.ok_or_else(|| self.expected("a number: `limit ROWS` or `limit OFFSET, ROWS`"))?;
        self.at += 1;
        Ok(number)
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    /// Whether there is this word, in whatever case.
    fn is_word(&self, word: &str, at: usize) -> bool {
        match self.tokens.get(at) {
            Some(Token::Word(found)) => found.eq_ignore_ascii_case(word),
            Some(Token::Text(_) | Token::Number(_) | Token::Sign(_)) | None => false,
        }
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let is_there = self.is_word(word, self.at);
        self.at += usize::from(is_there);
        is_there
    }

    fn takes_sign(&mut self, sign: &'static str) -> bool {
        let is_there = self.peek() == Some(&Token::Sign(sign));
        self.at += usize::from(is_there);
        is_there
    }

    fn word(&mut self, word: &str) -> Result<(), String> {
        if self.takes_word(word) { Ok(()) } else { Err(self.expected(&format!("`{word}`"))) }
    }

    fn sign(&mut self, sign: &'static str) -> Result<(), String> {
        if self.takes_sign(sign) { Ok(()) } else { Err(self.expected(&format!("`{sign}`"))) }
    }

    fn expected(&self, accepted: &str) -> String {
        let found = match self.peek() {
            Some(Token::Word(word) | Token::Number(word)) => format!("has `{}`", clipped(word)),
            Some(Token::Text(text)) => format!("has '{}'", clipped(text)),
            Some(Token::Sign(sign)) => format!("has `{sign}`"),
            None => "ends".to_owned(),
        };
        format!("It {found} where {accepted} is accepted.")
    }
}

fn clipped(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn is(field: Field, texts: &[&str]) -> Condition {
        let texts = texts.iter().map(|text| (*text).to_owned()).collect();
        Condition { field, is: Is::OneOf { not: false, texts } }
    }

    #[test]
    fn and_binds_before_or_and_words_are_read_in_any_case() {
        let read = parse(
            "SELECT * From device WHERE node_id='a' OR Fw_Version = 'it''s' AND status in ('ONLINE' , 'x') \
             order BY Marker ASC limit 20 ,5",
        );
        let both = vec![is(Field::FwVersion, &["it's"]), is(Field::Status, &["ONLINE", "x"])];
        let expected = Search {
            what: What::Rows { oldest_first: true, offset: 20, rows: 5 },
            any: vec![vec![is(Field::NodeId, &["a"])], both],
        };
        assert_eq!(read, Ok(expected));
        let counted = parse("select count ( * ) from device");
        assert_eq!(counted, Ok(Search { what: What::Count, any: vec![vec![]] }));
        let plain = What::Rows { oldest_first: false, offset: 0, rows: 10 };
        assert_eq!(parse("select*from device").map(|read| read.what), Ok(plain));
    }

    #[test]
    fn every_field_has_its_operators_and_no_others() {
        for field in Field::ALL {
            for (operator, has) in [
                ("= 'a'", true),
                ("!= 'a'", true),
                ("> 'a'", field.has_order()),
                ("< 'a'", field.has_order()),
                ("like 'abcd%'", field.has_prefixes()),
                ("in ('a')", !field.is_of_tag()),
                ("not in ('a', 'b')", !field.is_of_tag()),
                ("not like 'abcd%'", false),
                ("<> 'a'", false),
                (">= 'a'", false),
                ("is null", false),
                ("", false),
            ] {
                let read = parse(&format!("select * from device where {} {operator}", field.name()));
                assert_eq!(read.is_ok(), has, "{field:?} {operator}: {read:?}");
                if let Err(told) = read {
                    assert!(told.contains("`=`, `!="), "{told}");
                }
            }
        }
    }

    fn part() -> impl Strategy<Value = String> {
        const WORDS: &[&str] = &[
            "select",
            "*",
            "count",
            "(",
            ")",
            "from",
            "device",
            "where",
            "and",
            "or",
            "not",
            "in",
            "like",
            "=",
            "!=",
            ">",
            "<",
            ",",
            "'a'",
            "'abcd%'",
            "'",
            "''",
            "order",
            "by",
            "marker",
            "asc",
            "limit",
            "10",
            "0",
            "99999999999",
            "node_id",
            "tag_key",
            "status",
            "create_time",
            "\u{0}",
            "设备",
            ";",
            "\"",
        ];
        prop_oneof![
            8 => prop::sample::select(WORDS).prop_map(str::to_owned),
            1 => "\\PC{0,8}",
            1 => any::<String>(),
        ]
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange_to_be_refused(parts in prop::collection::vec(part(), 0..30), blank in any::<bool>()) {
            let sql = parts.join(if blank { " " } else { "" });
            for sql in [sql.clone(), format!("select * from device where {sql}")] {
                if let Err(told) = parse(&sql) {
                    prop_assert!(told.contains("accepted") || told.contains("quote"), "{told}");
                }
            }
        }
    }
}
