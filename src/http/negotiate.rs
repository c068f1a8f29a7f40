//! Which of the forms of `/metrics` a client wants, by `Accept:` (RFC 9110, 12.5.1).

use axum::http::{HeaderMap, header};

/// A form of `/metrics`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// The legacy JSON; also for those who take anything.
    Json,
    /// The text format of Prometheus, version 0.0.4.
    Text,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

/// The form with the highest weight; of equal ones the first that is named.
pub(super) fn form(headers: &HeaderMap) -> Form {
    let mut best = (0.0, Form::Json);
    for value in headers.get_all(header::ACCEPT) {
        for range in value.as_bytes().split(|c| *c == b',') {
            let Ok(range) = std::str::from_utf8(range) else { continue };
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let form = match kind.as_str() {
                "application/openmetrics-text" => Form::OpenMetrics,
                "text/plain" | "text/*" => Form::Text,
                "application/json" | "application/*" | "*/*" => Form::Json,
                _ => continue,
            };
            let weight = parts.find_map(|part| part.strip_prefix("q="));
            let weight = weight.map_or(1.0, |text| text.trim().parse().unwrap_or(0.0));
            if weight > best.0 {
                best = (weight, form);
            }
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_gets_what_it_asks_for() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,\
                          application/openmetrics-text;version=0.0.1;q=0.4,\
                          text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let cases = [
            ("", Form::Json),
            ("*/*", Form::Json),
            ("application/json", Form::Json),
            ("text/plain", Form::Text),
            ("TEXT/*", Form::Text),
            ("text/plain;q=0", Form::Json),
            ("application/json, text/plain", Form::Json),
            ("application/json;q=0.5, text/plain", Form::Text),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Form::Json),
            (prometheus, Form::OpenMetrics),
            ("text/plain;q=x", Form::Json),
            (";;;,,,q=", Form::Json),
        ];
        for (accept, expected) in cases {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT, accept.parse().unwrap());
            assert_eq!(form(&headers), expected, "{accept}");
        }
        assert_eq!(form(&HeaderMap::new()), Form::Json);
    }
}
