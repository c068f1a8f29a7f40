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
    use super::*;

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
}
