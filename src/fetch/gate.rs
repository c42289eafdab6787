//! The gate: closed while the server asks not to be called.
//!
//! When the wait is over, one request goes first. The others follow once it is answered: a server
//! that is still busy then refuses one paid request, not one from every caller.

use tokio::sync::watch;
use tokio::time::Instant;

/// Whether requests may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Until then nothing is sent; afterwards, one request.
    Closed(Instant),
    /// One request is under way, and the others wait for its answer.
    Probing,
}

/// Lets requests through, one by one after a wait.
#[derive(Debug)]
pub(super) struct Gate(watch::Sender<State>);

impl Default for Gate {
    fn default() -> Self {
        Self(watch::Sender::new(State::Open))
    }
}

impl Gate {
    /// Sends nothing before this instant.
    pub(super) fn close_until(&self, until: Instant) {
        self.0.send_modify(|state| {
            *state = State::Closed(match *state {
                State::Closed(known) => known.max(until),
                State::Open | State::Probing => until,
            });
        });
    }

    /// Waits until a request may be sent.
    pub(super) async fn pass(&self) -> Pass<'_> {
        let mut states = self.0.subscribe();
        loop {
            let state = *states.borrow_and_update();
            match state {
                State::Open => return Pass { gate: self, is_probe: false },
                State::Closed(until) if until > Instant::now() => tokio::select! {
                    () = tokio::time::sleep_until(until) => {}
                    _ = states.changed() => {}
                },
                State::Closed(_) => {
                    if self.replace(state, State::Probing) {
                        return Pass { gate: self, is_probe: true };
                    }
                }
                // The sender lives as long as `self`.
                State::Probing => drop(states.changed().await),
            }
        }
    }

    /// Changes the state if it is this one.
    fn replace(&self, from: State, to: State) -> bool {
        self.0.send_if_modified(|state| {
            let is_same = *state == from;
            if is_same {
                *state = to;
            }
            is_same
        })
    }
}

/// Permission for one request. If the request probes and is not answered, the next one probes.
#[derive(Debug)]
pub(super) struct Pass<'g> {
    gate: &'g Gate,
    is_probe: bool,
}

impl Pass<'_> {
    /// Whether the gate has not been closed since.
    pub(super) fn is_valid(&self) -> bool {
        let valid = if self.is_probe { State::Probing } else { State::Open };
        *self.gate.0.borrow() == valid
    }

    /// Opens the gate: the server answers.
    pub(super) fn open(&self) {
        if self.is_probe {
            self.gate.replace(State::Probing, State::Open);
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        if self.is_probe {
            self.gate.replace(State::Probing, State::Closed(Instant::now()));
        }
    }
}
