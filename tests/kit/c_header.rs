//! `include/diamonddb.h` as a table: its functions with their parameters, its structs with their fields.
//!
//! Tests go over this table, so that what joins the header joins them.

#![allow(dead_code, reason = "each test file uses its own part of this one")]

/// A parameter or a field. `kind` is its C type as the header writes it: `const char *`, `size_t`,
/// `int32_t (*)(void *context)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    pub kind: String,
    pub name: String,
}

#[derive(Debug)]
pub struct Function {
    pub name: String,
    pub returns: String,
    pub parameters: Vec<Variable>,
}

#[derive(Debug)]
pub struct Struct {
    pub name: String,
    pub fields: Vec<Variable>,
}

pub struct Header {
    pub functions: Vec<Function>,
    pub structs: Vec<Struct>,
}

impl Header {
    pub fn parse(text: &str) -> Header {
        let code = without_comments(text);
        let code: String = code.lines().filter(|line| !line.starts_with('#') && !line.starts_with("extern")).collect();
        let mut header = Header { functions: Vec::new(), structs: Vec::new() };
        let mut rest = code.as_str();
        while let Some(at) = rest.find(['(', '{', ';']) {
            let (before, from) = rest.split_at(at);
            let end = match &from[..1] {
                "(" => {
                    let end = from.find(')').expect("a parenthesis is closed");
                    let Variable { kind, name } = variable(before);
                    header.functions.push(Function { name, returns: kind, parameters: list(&from[1..end], ',') });
                    end
                }
                "{" => {
                    let end = from.find('}').expect("a brace is closed");
                    if let Some(name) = before.trim().strip_prefix("typedef struct ") {
                        header.structs.push(Struct { name: name.trim().into(), fields: list(&from[1..end], ';') });
                    }
                    end
                }
                _ => 0,
            };
            rest = &from[end..];
            rest = &rest[rest.find(';').map_or(rest.len(), |end| end + 1)..];
        }
        header
    }

    pub fn find_struct(&self, name: &str) -> Option<&Struct> {
        self.structs.iter().find(|it| it.name == name)
    }
}

pub fn without_comments(header: &str) -> String {
    let after = header.split("/*").enumerate();
    after.map(|(index, part)| if index == 0 { part } else { part.split_once("*/").map_or("", |it| it.1) }).collect()
}

fn list(text: &str, separator: char) -> Vec<Variable> {
    let parts = text.split(separator).map(str::trim).filter(|part| !part.is_empty() && *part != "void");
    parts.map(variable).collect()
}

/// `const char *name` is a `const char *` called `name`.
fn variable(text: &str) -> Variable {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    // A function: `int32_t (*progress)(void *context)` is an `int32_t (*)(void *context)` called `progress`.
    if let Some((returns, rest)) = words.split_once("(*") {
        let (name, parameters) = rest.split_once(')').expect("a parenthesis is closed");
        return Variable { kind: format!("{returns}(*){parameters}"), name: name.to_owned() };
    }
    let at = words.rfind([' ', '*']).map_or(0, |at| at + 1);
    Variable { kind: words[..at].trim().to_owned(), name: words[at..].to_owned() }
}
