//! What the server answers: a status, a JSON text, and now and then a header.
//!
//! Whatever is refused is an answer too, `{"error": "…"}` with a sentence that names what was wrong.

use diamonddb::Error;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CONNECTION, CONTENT_TYPE, HeaderName, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde_json::json;

/// An answer on its way.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The body. Empty where there is none.
    pub json: String,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Answer {
    /// An answer of this status.
    pub fn new(status: StatusCode, json: impl Into<String>) -> Answer {
        Answer { status, json: json.into(), headers: Vec::new() }
    }

    /// What was asked for.
    pub fn ok(json: impl Into<String>) -> Answer {
        Answer::new(StatusCode::OK, json)
    }

    /// A refusal, with its sentence.
    pub fn refusal(status: StatusCode, sentence: impl AsRef<str>) -> Answer {
        Answer::new(status, json!({"error": sentence.as_ref()}).to_string())
    }

    /// A method that is not of this place, with those that are.
    pub fn wrong_method(sentence: impl AsRef<str>, allowed: &'static str) -> Answer {
        Answer::refusal(StatusCode::METHOD_NOT_ALLOWED, sentence).with(ALLOW, HeaderValue::from_static(allowed))
    }

    /// A token that is missing or wrong.
    pub fn unauthorized(sentence: impl AsRef<str>) -> Answer {
        let scheme = HeaderValue::from_static("Bearer");
        Answer::refusal(StatusCode::UNAUTHORIZED, sentence).with(WWW_AUTHENTICATE, scheme)
    }

    /// The answer as the last of its connection, since the rest of the request is not read.
    pub fn closing(self) -> Answer {
        self.with(CONNECTION, HeaderValue::from_static("close"))
    }

    /// The answer with one header more.
    pub fn with(mut self, name: HeaderName, value: HeaderValue) -> Answer {
        self.headers.push((name, value));
        self
    }

    /// The answer as HTTP has it.
    pub fn into_response(self) -> Response<Full<Bytes>> {
        let has_body = !self.json.is_empty();
        let mut response = Response::new(Full::from(self.json));
        *response.status_mut() = self.status;
        if has_body {
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        response.headers_mut().extend(self.headers);
        response
    }
}

/// An error of the library brings its own sentence; its kind decides the status.
impl From<Error> for Answer {
    fn from(error: Error) -> Answer {
        let status = match &error {
            Error::NotFound(_) | Error::OutOfRange(_) => StatusCode::NOT_FOUND,
            Error::Misuse(_) | Error::Invalid(_) | Error::Unsupported(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Error::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Error::SchemaDiffers(_) | Error::Conflict(_) => StatusCode::CONFLICT,
            Error::Busy(_) | Error::Unavailable(_) | Error::Timeout(_) | Error::Closed(_) | Error::NoMemory(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Error::Full(_) => StatusCode::INSUFFICIENT_STORAGE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Answer::refusal(status, error.message())
    }
}
