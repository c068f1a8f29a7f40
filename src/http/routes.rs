//! Every resource: the one table from which requests are dispatched and refused, and against which
//! `docs/openapi.json` is checked.

/// A resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// `/v1/kv/{key}`
    Key,
    /// `/v1/kv`
    Range,
    /// `/v1/txn`
    Txn,
    /// `/v1/status`
    Status,
    /// `/livez`
    Live,
    /// `/readyz`
    Ready,
    /// `/openapi.json`
    OpenApi,
    /// `/get`
    Get,
    /// `/set`
    Set,
    /// `/delete`
    Delete,
    /// `/health`
    Health,
    /// `/metrics`
    Metrics,
}

impl Route {
    /// All of them.
    pub const ALL: [Route; 12] = [
        Route::Key,
        Route::Range,
        Route::Txn,
        Route::Status,
        Route::Live,
        Route::Ready,
        Route::OpenApi,
        Route::Get,
        Route::Set,
        Route::Delete,
        Route::Health,
        Route::Metrics,
    ];

    /// The path, as OpenAPI writes it.
    pub const fn path(self) -> &'static str {
        match self {
            Route::Key => "/v1/kv/{key}",
            Route::Range => "/v1/kv",
            Route::Txn => "/v1/txn",
            Route::Status => "/v1/status",
            Route::Live => "/livez",
            Route::Ready => "/readyz",
            Route::OpenApi => "/openapi.json",
            Route::Get => "/get",
            Route::Set => "/set",
            Route::Delete => "/delete",
            Route::Health => "/health",
            Route::Metrics => "/metrics",
        }
    }

    /// Its methods, for `Allow:`.
    pub const fn allow(self) -> &'static str {
        match self {
            Route::Key => "GET, HEAD, PUT, DELETE",
            Route::Range => "GET, HEAD, DELETE",
            Route::Txn | Route::Set | Route::Delete => "POST",
            _ => "GET, HEAD",
        }
    }

    /// Whether `method` is one of its own.
    pub fn allows(self, method: &str) -> bool {
        self.allow().split(", ").any(|allowed| allowed == method)
    }

    /// Whether it is one of the Rust key-value example's.
    pub const fn is_legacy(self) -> bool {
        use Route::{Delete, Get, Health, Metrics, Set};
        matches!(self, Get | Set | Delete | Health | Metrics)
    }

    /// Whether it is served to whoever asks: supervisors that watch the agent have no token.
    pub const fn is_open(self) -> bool {
        matches!(self, Route::Live | Route::Ready)
    }

    /// The resource at `path`, and its key if it is one of the store.
    pub fn find(path: &str) -> Option<(Route, &str)> {
        if let Some(key) = path.strip_prefix("/v1/kv/") {
            return Some((Route::Key, key));
        }
        let route = match path {
            "/get" => Route::Get,
            "/set" => Route::Set,
            "/delete" => Route::Delete,
            "/v1/kv" => Route::Range,
            "/v1/txn" => Route::Txn,
            "/v1/status" => Route::Status,
            "/livez" => Route::Live,
            "/readyz" => Route::Ready,
            "/openapi.json" => Route::OpenApi,
            "/health" => Route::Health,
            "/metrics" => Route::Metrics,
            _ => return None,
        };
        Some((route, ""))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::limits;

    #[test]
    fn every_path_is_found() {
        for route in Route::ALL {
            assert_eq!(Route::find(route.path()).map(|(found, _)| found), Some(route));
        }
        assert_eq!(Route::find("/v1/kv/a/b"), Some((Route::Key, "a/b")));
        assert_eq!(Route::find("/v1/kv/"), Some((Route::Key, "")));
        for other in ["", "/", "*", "/v1", "/v1/kvs", "/get/", "/GET"] {
            assert_eq!(Route::find(other), None, "{other}");
        }
    }

    fn document() -> Value {
        serde_json::from_str(crate::http::OPENAPI).unwrap()
    }

    /// `docs/openapi.json` describes these resources and no other.
    #[test]
    fn the_document_has_these_paths_and_methods() {
        let document = document();
        let mut documented = BTreeSet::new();
        for (path, item) in document["paths"].as_object().unwrap() {
            for method in item.as_object().unwrap().keys().filter(|key| *key != "parameters") {
                documented.insert((path.clone(), method.to_uppercase()));
            }
        }
        let own = |route: Route| {
            let methods = route.allow().split(", ");
            methods.map(move |method| (route.path().to_owned(), method.to_owned()))
        };
        let served: BTreeSet<_> = Route::ALL.into_iter().flat_map(own).collect();
        assert_eq!(documented, served);
    }

    /// Every code that a refusal of ours has, and no other, is in the document, and every number
    /// that it states is the one in force.
    #[test]
    fn the_document_has_these_codes_and_limits() {
        let document = document();
        let codes = &document["components"]["schemas"]["Error"]["properties"]["error"];
        let codes = codes["properties"]["code"]["enum"].as_array().unwrap();
        let documented: BTreeSet<&str> = codes.iter().map(|code| code.as_str().unwrap()).collect();
        let sources = [
            include_str!("error.rs"),
            include_str!("body.rs"),
            include_str!("cors.rs"),
            include_str!("kv.rs"),
            include_str!("legacy.rs"),
            include_str!("service.rs"),
        ];
        let mut used = BTreeSet::new();
        for source in sources {
            for part in source.split("StatusCode::").skip(1) {
                let Some(rest) = part.split_once(", \"").filter(|(name, _)| name.len() < 40) else {
                    continue;
                };
                used.insert(rest.1.split('"').next().unwrap());
            }
        }
        assert_eq!(documented, used);
        let value = &document["paths"]["/v1/kv/{key}"]["put"]["requestBody"]["content"];
        let most = &value["application/octet-stream"]["schema"]["maxLength"];
        assert_eq!(*most, limits::KV_VALUE_MAX_BYTES);
        let limit = &document["components"]["parameters"]["Limit"]["schema"]["maximum"];
        assert_eq!(*limit, limits::KV_PAGE_ROWS_MAX);
    }
}
