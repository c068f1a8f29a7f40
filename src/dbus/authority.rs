//! Callers on the system bus: who they are, as the bus says, and what polkit says about them.
//!
//! Asks on a connection of its own: on the one that serves, the answer would wait behind the calls
//! that wait for it. Both are connections to the same run of the bus, so that a sender's name means
//! the same client on either. Every question has a deadline; without an answer it is no.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use zbus::Connection;
use zbus::fdo::ConnectionCredentials;
use zbus::message::{Flags, Header};
use zbus::names::UniqueName;
use zbus::proxy::CacheProperties;
use zbus_polkit::policykit1::{
    AuthorityProxy, AuthorizationResult, CheckAuthorizationFlags, Subject,
};

use super::access::{Action, Caller, Tickets};
use super::error::Denied;
use super::peer::PeerCreds;
use crate::limits;

/// Decides about callers on one connection to the system bus.
pub(super) struct Authority {
    bus: Connection,
    /// Whose members may do everything.
    group: Option<u32>,
    tickets: Tickets,
    questions: AtomicU64,
}

impl Authority {
    /// Asks on `bus`.
    pub(super) fn new(bus: Connection, group: Option<u32>) -> Authority {
        Authority { bus, group, tickets: Tickets::default(), questions: AtomicU64::new(0) }
    }

    /// The sender, if he may do `action`: as an administrator, or because polkit says so.
    pub(super) async fn authorise(
        &self,
        action: Action,
        header: &Header<'_>,
    ) -> Result<Caller, Denied> {
        let sender = header.sender().ok_or_else(no_sender)?;
        let found = self.who_is(sender).await?;
        if found.administrator {
            return Ok(Caller::new(found.peer, None));
        }
        let ticket = self.tickets.take(found.peer.uid)?;
        let interactive = header.primary().flags().contains(Flags::ALLOW_INTERACTIVE_AUTH);
        self.ask_polkit(action, header, interactive).await?;
        Ok(Caller::new(found.peer, Some(ticket)))
    }

    /// The sender, if he has not too many long calls running.
    pub(super) async fn admit(&self, header: &Header<'_>) -> Result<Caller, Denied> {
        let sender = header.sender().ok_or_else(no_sender)?;
        let found = self.who_is(sender).await?;
        let limited = !found.administrator;
        let ticket = if limited { Some(self.tickets.take(found.peer.uid)?) } else { None };
        Ok(Caller::new(found.peer, ticket))
    }

    /// Who owns the connection `sender`, by the bus.
    async fn who_is(&self, sender: &UniqueName<'_>) -> Result<Found, Denied> {
        let unknown = |problem: String| {
            Denied::AccessDenied(format!("cannot tell who {sender} is: {problem}"))
        };
        let body = (sender,);
        let call = self.bus.call_method(
            Some("org.freedesktop.DBus"),
            "/org/freedesktop/DBus",
            Some("org.freedesktop.DBus"),
            "GetConnectionCredentials",
            &body,
        );
        let answer = tokio::time::timeout(limits::SYSTEM_BUS_TIMEOUT, call).await;
        let answer = answer.map_err(|_| unknown("the bus does not answer".to_owned()))?;
        let body = answer.map_err(|error| unknown(error.to_string()))?.body();
        let creds: ConnectionCredentials =
            body.deserialize().map_err(|error| unknown(error.to_string()))?;
        let uid = creds.unix_user_id().ok_or_else(|| unknown("no user".to_owned()))?;
        let pid = creds.process_id().and_then(|pid| i32::try_from(pid).ok());
        let groups = creds.unix_group_ids().map(Vec::as_slice).unwrap_or_default();
        let in_group = self.group.is_some_and(|group| groups.contains(&group));
        let administrator = uid == 0 || in_group;
        Ok(Found { peer: PeerCreds { uid, pid }, administrator })
    }

    async fn ask_polkit(
        &self,
        action: Action,
        header: &Header<'_>,
        interactive: bool,
    ) -> Result<(), Denied> {
        let no_answer = |problem: &str| {
            let action = action.id();
            tracing::info!(action, problem, "polkit did not answer, refusing the caller");
            let only = "is for root and group raftctl only, while polkit does not answer";
            Denied::AccessDenied(format!("{action} {only}: {problem}"))
        };
        let proxy = AuthorityProxy::builder(&self.bus).cache_properties(CacheProperties::No);
        let proxy = proxy.build().await.map_err(|error| no_answer(&error.to_string()))?;
        let subject = Subject::new_for_message_header(header).map_err(|_| no_sender())?;
        let flags = match interactive {
            true => CheckAuthorizationFlags::ALLOW_USER_INTERACTION,
            false => CheckAuthorizationFlags::empty(),
        };
        let question = self.questions.fetch_add(1, Ordering::Relaxed).to_string();
        // No details: an unprivileged service may not pass any.
        let details = HashMap::new();
        let check = proxy.check_authorization(&subject, action.id(), &details, flags, &question);
        match tokio::time::timeout(patience(interactive), check).await {
            Ok(Ok(result)) => judge(action, &result),
            Ok(Err(error)) => Err(no_answer(&error.to_string())),
            Err(_) => {
                // The dialogue goes away; nobody waits for it any more.
                let cancel = proxy.cancel_check_authorization(&question);
                let _ = tokio::time::timeout(limits::SYSTEM_BUS_TIMEOUT, cancel).await;
                Err(no_answer("nothing in time"))
            }
        }
    }
}

/// Who a sender is.
struct Found {
    peer: PeerCreds,
    administrator: bool,
}

/// What systemd answers in the same cases (sd-bus, `bus_verify_polkit_async`).
fn judge(action: Action, result: &AuthorizationResult) -> Result<(), Denied> {
    let action = action.id();
    match (result.is_authorized, result.is_challenge) {
        (true, _) => Ok(()),
        (false, true) => Err(Denied::InteractiveAuthorizationRequired(format!(
            "interactive authentication required for {action}"
        ))),
        (false, false) => Err(Denied::AccessDenied(format!("access denied for {action}"))),
    }
}

fn patience(interactive: bool) -> Duration {
    match interactive {
        true => limits::POLKIT_INTERACTIVE_TIMEOUT,
        false => limits::POLKIT_TIMEOUT,
    }
}

fn no_sender() -> Denied {
    Denied::AccessDenied("the message has no sender".to_owned())
}
