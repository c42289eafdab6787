//! The vocabulary of a sales team. This file only contains lists; nothing is chosen, combined, or
//! formatted here.

pub(super) const FIRST: &[&str] = &[
    "Maya", "Jonas", "Priya", "Luis", "Hannah", "Omar", "Ingrid", "Kenji", "Chloé", "Tomás",
    "Aisha", "Daniel", "Sofia", "Viktor", "Leïla", "Grace", "Mateo", "Yara", "Björn", "Noor",
    "Ethan", "Zoë", "Rahul", "Emma", "Wei", "Fatima", "Lucas", "Nadia", "Oscar", "Amélie",
];

pub(super) const LAST: &[&str] = &[
    "Okafor",
    "Lindqvist",
    "Sharma",
    "Moreno",
    "Keller",
    "Haddad",
    "Tanaka",
    "Dubois",
    "O'Neil",
    "Novák",
    "Silva",
    "Kowalski",
    "Nguyen",
    "Eriksen",
    "Rossi",
    "Cohen",
    "Petrov",
    "Yilmaz",
    "Brown",
    "van Dijk",
    "Castillo",
    "Fischer",
    "Iyer",
    "Walsh",
    "Park",
    "Mensah",
];

pub(super) const COMPANY: &[&str] = &[
    "Northwind",
    "Blue Harbor",
    "Acme",
    "Lumen",
    "Granite",
    "Silverline",
    "Orchard",
    "Vertex",
    "Quarry",
    "Helio",
    "Cobalt",
    "Evergreen",
    "Juniper",
    "Meridian",
    "Pioneer",
    "Sable",
];

pub(super) const BRANCH: &[&str] = &[
    "Logistics",
    "Health",
    "Robotics",
    "Bank",
    "Foods",
    "Analytics",
    "Energy",
    "Insurance",
    "Retail",
    "Media",
    "Aerospace",
    "Labs",
    "Education",
    "Systems",
];

pub(super) const CITY: &[(&str, &str, &str)] = &[
    ("Austin", "Texas", "United States"),
    ("Göteborg", "Västra Götaland", "Sweden"),
    ("Lyon", "Rhône", "France"),
    ("Pune", "Maharashtra", "India"),
    ("Osaka", "Kansai", "Japan"),
    ("Haifa", "Haifa District", "Israel"),
    ("Toronto", "Ontario", "Canada"),
];

pub(super) const JOB: &[&str] = &[
    "VP Sales Operations",
    "Head of Procurement",
    "CFO",
    "Director of IT",
    "RevOps Lead",
    "Security Architect",
    "Chief of Staff",
    "Account Executive",
    "Data Engineer",
];

pub(super) const MEETING: &[&str] = &[
    "Discovery",
    "Intro call",
    "Product demo",
    "Pricing review",
    "Security review",
    "Renewal",
    "QBR",
    "Pilot kick-off",
    "Contract redlines",
    "Executive alignment",
    "Weekly sync",
    "Proof of value read-out",
    "Implementation planning",
];

/// Title endings that have broken text handling in some software.
pub(super) const FLOURISH: &[&str] = &[
    " 🚀",
    " — phase 2",
    " 👩🏽‍💻 workshop",
    " (reprise)",
    " \u{200f}שיחת היכרות",
    " \u{202b}مكالمة متابعة\u{202c}",
    " «été»",
    " #1/2",
    " \"final\"",
    " 東京",
];

pub(super) const TOPIC: &[&str] = &[
    "Pricing",
    "Competition",
    "Next steps",
    "Security",
    "Integration",
    "Decision process",
    "Timeline",
    "Budget",
    "Onboarding",
    "Forecasting",
    "Renewal risk",
    "Legal",
    "Data residency",
    "Support",
    "Reporting",
    "Champion",
    "Objections",
    "Small talk",
    "Roadmap",
    "Return on spend",
];

pub(super) const PHRASE: &[&str] = &[
    "list price",
    "volume discount",
    "single sign-on",
    "data processing agreement",
    "end of quarter",
    "procurement portal",
    "sandbox",
    "service level",
    "go-live",
    "multi-year",
    "per seat",
    "audit log",
    "executive sponsor",
    "rip and replace",
    "statement of work",
];

pub(super) const RIVAL: &[&str] =
    &["Gong", "Chorus", "Avoma", "Fireflies", "Salesloft", "Outreach"];

pub(super) const STAGE: &[&str] =
    &["Qualification", "Discovery", "Evaluation", "Proposal", "Negotiation", "Closed Won"];

pub(super) const SKILL: &[&str] = &[
    "Opening",
    "Discovery questions",
    "Active listening",
    "Handling objections",
    "Value pitch",
    "Next steps",
    "Closing",
];

pub(super) const LABEL: &[&str] =
    &["Question", "Objection", "Commitment", "Pain point", "Next step"];

pub(super) const OPENER: &[&str] = &[
    "So",
    "Right",
    "Honestly",
    "From our side",
    "Just to recap",
    "What I heard last week is that",
    "If I may",
    "Good question",
    "Before we move on",
    "To be fair",
    "Let me share my screen,",
    "One thing that worries me:",
];

pub(super) const SUBJECT: &[&str] = &[
    "the team",
    "our finance group",
    "procurement",
    "the security office",
    "your proposal",
    "the pilot",
    "the current vendor",
    "our sales leaders",
    "the rollout",
    "the integration",
    "the forecast call",
    "everybody on the west coast",
    "the board",
    "the legal review",
];

pub(super) const VERB: &[&str] = &[
    "needs a clear answer on",
    "is really asking about",
    "keeps coming back to",
    "would sign off on",
    "has a budget for",
    "still struggles with",
    "was impressed by",
    "wants to understand",
    "cannot move without",
    "will depend on",
    "saves roughly four hours a week with",
];

pub(super) const OBJECT: &[&str] = &[
    "the renewal terms",
    "single sign-on and the audit log",
    "the price per seat",
    "how the data leaves the region",
    "a two-week sandbox",
    "the Salesforce sync",
    "who owns the change management",
    "the reporting for managers",
    "the discount at three years",
    "adoption in the first ninety days",
    "the migration from spreadsheets",
    "the support hours",
    "forecast accuracy at the end of the quarter",
];

pub(super) const TAIL: &[&str] = &[
    "before the end of the quarter",
    "and I can send that over today",
    "which is fine for us",
    "so let us put a date on it",
    "if that makes sense",
    "as we said in the last call",
    "and that is the blocker right now",
    "at least for the first forty users",
    "and the CFO will join next time",
    "but I would have to check",
];

pub(super) const SHORT: &[&str] = &[
    "Yeah, totally.",
    "Okay.",
    "Mm-hm, go on.",
    "Sorry, you were on mute.",
    "Exactly.",
    "That makes sense to me.",
    "Could you repeat that?",
    "Perfect, thank you.",
    "Haha, fair enough.",
];
