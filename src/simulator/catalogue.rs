//! The people, companies, and topics of the calls, generated from the options. Other modules turn
//! these small structures into API records.

use super::options::Options;
use super::text::{crm_id, generator, hex24, one, phone, slug, uuid};
use super::words;
use fastrand::Rng;

/// A user of the workspace.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) email: String,
}

/// A person at a customer.
#[derive(Debug, Clone)]
pub(super) struct Contact {
    pub(super) crm_id: String,
    pub(super) first: String,
    pub(super) last: String,
    pub(super) email: String,
    pub(super) phone: String,
    pub(super) job: &'static str,
}

impl Contact {
    pub(super) fn name(&self) -> String {
        format!("{} {}", self.first, self.last)
    }
}

/// A potential sale.
#[derive(Debug, Clone)]
pub(super) struct Deal {
    pub(super) crm_id: String,
    pub(super) name: String,
    pub(super) amount: u32,
    pub(super) stage: usize,
    /// Days after the workspace's first `now`.
    pub(super) closes_in: i64,
}

/// A customer.
#[derive(Debug, Clone)]
pub(super) struct Company {
    pub(super) crm_id: String,
    pub(super) name: String,
    pub(super) domain: String,
    pub(super) contacts: Vec<Contact>,
    pub(super) deals: Vec<Deal>,
}

/// The catalogue of a workspace; fixed once generated.
#[derive(Debug, Clone)]
pub(super) struct Catalogue {
    pub(super) now: i64,
    pub(super) oddities: f64,
    pub(super) lone_surrogates: f64,
    pub(super) turns: usize,
    pub(super) seats: Vec<Seat>,
    pub(super) companies: Vec<Company>,
}

impl Catalogue {
    pub(super) fn generate(options: &Options) -> Self {
        let mut rng = generator(options.seed, 1);
        let companies = (options.calls / 40).clamp(20, 2_000);
        Self {
            now: options.now.timestamp_millis(),
            oddities: options.oddities,
            lone_surrogates: options.lone_surrogates,
            turns: options.turns,
            seats: (0..options.users.max(1)).map(|index| seat(&mut rng, index)).collect(),
            companies: (0..companies).map(|index| company(&mut rng, index)).collect(),
        }
    }
}

fn seat(rng: &mut Rng, index: usize) -> Seat {
    let (first, last) = (one(rng, words::FIRST), one(rng, words::LAST));
    Seat {
        id: if index.is_multiple_of(4) { hex24(rng) } else { uuid(rng) },
        name: format!("{first} {last}"),
        email: format!("{}.{}{index}@example-sales.com", slug(first), slug(last)),
    }
}

fn company(rng: &mut Rng, index: usize) -> Company {
    let name = format!("{} {}", one(rng, words::COMPANY), one(rng, words::BRANCH));
    let domain = format!("{}{index}.example", slug(&name));
    Company {
        crm_id: crm_id(rng, "001"),
        contacts: (0..rng.usize(2..6)).map(|at| contact(rng, at, &domain)).collect(),
        deals: (0..rng.usize(1..3)).map(|at| deal(rng, at, &name)).collect(),
        name,
        domain,
    }
}

fn contact(rng: &mut Rng, index: usize, domain: &str) -> Contact {
    let (first, last) = (one(rng, words::FIRST), one(rng, words::LAST));
    Contact {
        crm_id: crm_id(rng, "003"),
        email: format!("{}{index}@{domain}", slug(first)),
        first: first.to_owned(),
        last: last.to_owned(),
        phone: phone(rng),
        job: one(rng, words::JOB),
    }
}

fn deal(rng: &mut Rng, index: usize, company: &str) -> Deal {
    let kind = if index == 0 { "New business" } else { "Expansion" };
    Deal {
        crm_id: crm_id(rng, "006"),
        name: format!("{company} - {kind}"),
        amount: rng.u32(8..900) * 250,
        stage: rng.usize(..words::STAGE.len()),
        closes_in: rng.i64(-40..120),
    }
}
