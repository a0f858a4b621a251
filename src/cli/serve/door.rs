//! Who may come in. The server is open to the programs of its machine and to nobody else, unless it is told more.
//!
//! 1. Beyond the loopback addresses nothing is served without a token.
//! 2. Without a token, a request has to call the server by a name of this machine. A web page that has its own name
//!    resolved to 127.0.0.1 (DNS rebinding) still sends that name.
//! 3. A web page of another origin is refused unless `--cors` names it. Browsers would keep the answer from it, but by
//!    then a save has been made.

use super::super::args::ServeArguments;
use super::super::failure::{Code, Failure, Result};
use super::answer::Answer;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, HOST, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};
use hyper::http::request::Parts;
use hyper::http::uri::Authority;
use hyper::{StatusCode, Version};
use std::net::IpAddr;
use std::path::Path;
use subtle::ConstantTimeEq;

/// Where the token comes from, if no file is named.
const TOKEN_VARIABLE: &str = "DIAMOND_TOKEN";

/// Who may come in.
pub struct Door {
    token: Option<String>,
    origins: Vec<String>,
}

impl Door {
    /// Refuses what would leave the door open.
    pub fn new(arguments: &ServeArguments) -> Result<Door> {
        let token = token(arguments.token_file.as_deref())?;
        let address = arguments.address;
        if token.is_none() && !address.to_canonical().is_loopback() {
            let message = format!(
                "Other machines may reach {address}, so serving there needs a token: name its file by --token-file, or \
                 set {TOKEN_VARIABLE}."
            );
            return Err(Failure::new(Code::Usage, message));
        }
        Ok(Door { token, origins: arguments.cors.clone() })
    }

    /// Lets a request in, or says why not. A browser asks without the token whether it may ask with it.
    pub fn admit(&self, head: &Parts, is_preflight: bool) -> std::result::Result<(), Answer> {
        let host = host(head)?;
        if self.token.is_none() && !is_of_this_machine(host.host()) {
            let sentence = format!(
                "This server is called 127.0.0.1 or localhost, not {:?}; serving under other names needs a token.",
                host.host()
            );
            return Err(Answer::refusal(StatusCode::MISDIRECTED_REQUEST, sentence));
        }
        self.check_origin(&head.headers, &host)?;
        match &self.token {
            Some(token) if !is_preflight => check_token(&head.headers, token),
            _ => Ok(()),
        }
    }

    /// What tells a browser that the page which asks may read the answer.
    pub fn cross_origin_headers(&self, headers: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
        match headers.get(ORIGIN) {
            Some(origin) if self.knows(origin) => {
                vec![(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()), (VARY, HeaderValue::from_static("origin"))]
            }
            _ => Vec::new(),
        }
    }

    fn knows(&self, origin: &HeaderValue) -> bool {
        self.origins.iter().any(|known| known.as_bytes() == origin.as_bytes())
    }

    fn check_origin(&self, headers: &HeaderMap, host: &Authority) -> std::result::Result<(), Answer> {
        let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
        let text = String::from_utf8_lossy(origin.as_bytes());
        let is_own = text.split_once("://").is_some_and(|(_, own)| own.eq_ignore_ascii_case(host.as_str()));
        if is_own || self.knows(origin) {
            return Ok(());
        }
        let sentence = format!("Web pages of {text:?} are not let in; the option --cors of the server names who is.");
        Err(Answer::refusal(StatusCode::FORBIDDEN, sentence))
    }
}

/// What the client calls this server.
fn host(head: &Parts) -> std::result::Result<Authority, Answer> {
    if let Some(authority) = head.uri.authority() {
        return Ok(authority.clone());
    }
    let refusal = |sentence: &str| Answer::refusal(StatusCode::BAD_REQUEST, sentence);
    match head.headers.get(HOST) {
        Some(host) => Authority::try_from(host.as_bytes()).map_err(|_| refusal("The Host header is no host.")),
        // Clients that old are no browsers.
        None if head.version == Version::HTTP_10 => Ok(Authority::from_static("localhost")),
        None => Err(refusal("A request of HTTP/1.1 has a Host header, and this one has none.")),
    }
}

fn is_of_this_machine(host: &str) -> bool {
    let name = host.trim_start_matches('[').trim_end_matches(']');
    match name.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => {
            let name = name.to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

fn check_token(headers: &HeaderMap, token: &str) -> std::result::Result<(), Answer> {
    let Some(given) = headers.get(AUTHORIZATION) else {
        return Err(Answer::unauthorized("This server wants a token: Authorization: Bearer TOKEN."));
    };
    let given = given.as_bytes().split_at_checked("Bearer ".len());
    match given.filter(|(scheme, _)| scheme.eq_ignore_ascii_case(b"Bearer ")) {
        Some((_, given)) if given.ct_eq(token.as_bytes()).into() => Ok(()),
        Some(_) => Err(Answer::unauthorized("The token is not the one that this server wants.")),
        None => Err(Answer::unauthorized("The authorization is not of the form Bearer TOKEN.")),
    }
}

/// The token from its file or the environment, if there is one. An empty one is a mistake, not the absence of one.
fn token(file: Option<&Path>) -> Result<Option<String>> {
    let (text, source) = match file {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| {
                Failure::new(Code::Usage, format!("The token file {} cannot be read: {error}.", path.display()))
            })?;
            (text, format!("file {}", path.display()))
        }
        None => match std::env::var_os(TOKEN_VARIABLE) {
            Some(text) => (text.to_string_lossy().into_owned(), format!("variable {TOKEN_VARIABLE}")),
            None => return Ok(None),
        },
    };
    let token = text.trim_end_matches(['\r', '\n']);
    match !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()) {
        true => Ok(Some(token.to_owned())),
        false => {
            let right = "one line of letters, digits and signs of ASCII, without spaces";
            Err(Failure::new(Code::Usage, format!("The token {source} holds no token, which is {right}.")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine_are_known_from_others() {
        for name in ["localhost", "LocalHost", "app.localhost", "127.0.0.1", "127.8.9.1", "[::1]", "[::ffff:127.0.0.1]"]
        {
            assert!(is_of_this_machine(name), "{name}");
        }
        for name in ["example.org", "localhost.example.org", "127.0.0.1.example.org", "notlocalhost", "10.0.0.1", ""] {
            assert!(!is_of_this_machine(name), "{name}");
        }
    }
}
