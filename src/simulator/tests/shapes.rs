//! The contents of records: everything that is documented, and everything that is not.

use super::super::{LONE_SURROGATE, Options, Table, Workspace};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Every path of keys, with the JSON types found there; list items are `[]`.
fn types(value: &Value, path: &str, seen: &mut BTreeMap<String, BTreeSet<&'static str>>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "fraction",
        Value::Number(_) => "integer",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    };
    seen.entry(path.to_owned()).or_default().insert(kind);
    match value {
        Value::Array(items) => {
            for item in items {
                types(item, &format!("{path}[]"), seen);
            }
        }
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            types(value, format!("{path}.{key}").trim_start_matches('.'), seen);
        }),
        _ => {}
    }
}

fn seen(values: &[Value]) -> BTreeMap<String, BTreeSet<&'static str>> {
    let mut seen = BTreeMap::new();
    for value in values {
        types(value, "", &mut seen);
    }
    seen
}

fn all_details(options: &Options) -> Vec<Value> {
    let workspace = Workspace::generate(options);
    let calls = workspace.calls();
    calls.iter().filter_map(|call| workspace.details(call["id"].as_str()?)).collect()
}

/// Every documented column occurs.
#[test]
fn every_property_of_the_description_occurs() {
    let options = Options { calls: 600, turns: 12, ..Options::default() };
    let workspace = Workspace::generate(&options);
    let mut calls = seen(&all_details(&options));
    calls.extend(seen(&workspace.calls()));
    let expected = "id source_id title users users[].userId users[].userEmail users[].isOrganizer \
        users[].personId externalParticipants[].name externalParticipants[].email \
        externalParticipants[].phone externalParticipants[].personId joinedParticipants[].name \
        joinedParticipants[].email joinedParticipants[].phone joinedParticipants[].personId status \
        bot_not_join_reason[] type time icaluid calendar_id recurring_event_id original_start_time \
        last_modified_time audio_url video_url disposition deal_name deal_value deal_close_date \
        deal_stage_before_call account_name contact_names[] crm_info.source_crm crm_info.deal_id \
        crm_info.account_id crm_info.contact_ids[] bookmark_timestamps[] metrics.talk_listen_ratio \
        metrics.num_questions_asked metrics.num_questions_asked_by_reps metrics.call_duration \
        metrics.total_speak_duration metrics.longest_monologue_duration \
        metrics.longest_monologue_start_time metrics.engaging_questions metrics.categories[].name \
        metrics.categories[].occurences metrics.categories[].phrases_matched[].text \
        metrics.categories[].phrases_matched[].user_id metrics.categories[].phrases_matched[].name \
        metrics.categories[].phrases_matched[].time metrics.categories[].ai_detected \
        call_review_page_url deal_stage_live transcript[].text transcript[].start transcript[].end \
        transcript[].personId transcript[].annotations[].tracker transcript[].annotations[].phrase \
        transcript[].annotations[].category transcript[].annotations[].label summary.full_summary \
        summary.topics_discussed[].name summary.topics_discussed[].start_timestamp \
        summary.topics_discussed[].end_timestamp summary.topics_discussed[].summary \
        summary.key_action_items[].action_item summary.key_action_items[].speaker_name \
        summary.key_action_items[].start_timestamp summary.key_action_items[].end_timestamp \
        summary.key_takeaways competitor_sentiments[].competitor_name \
        competitor_sentiments[].sentiment competitor_sentiments[].reasoning \
        competitor_sentiments[].personId competitor_sentiments[].turn_start_time";
    let missing: Vec<&str> =
        expected.split_whitespace().filter(|path| !calls.contains_key(*path)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

/// The other tables have everything that is documented.
#[test]
fn every_property_of_other_tables_occurs() {
    let workspace = Workspace::generate(&Options::default());
    for (table, expected) in [
        (Table::Users, "id email name role is_recording manager_id"),
        (
            Table::TopicsV2,
            "topic_id topic_name type team_ids[] custom_topic.description \
            custom_topic.status keyword_topic.trackers[]",
        ),
        (
            Table::Scorecards,
            "id type rep scorer template_id call_id total_score remark \
            questions_score[].score questions_score[].skill questions_score[].label questions_score[].order",
        ),
        (
            Table::ScorecardTemplates,
            "id customer_id name type questions[].skill questions[].label questions[].order",
        ),
        (
            Table::CrmAccounts,
            "id crm_id name phones[] description website address city state country zip \
            custom_fields[].key custom_fields[].value",
        ),
        (
            Table::CrmContacts,
            "id crm_id account_crm_id first_name last_name job_title phones[] stage reason \
            emails[] is_lead custom_fields[].key",
        ),
        (
            Table::CrmDeals,
            "id crm_id owner_crm_id deal_name amount close_date created_date last_contacted \
            next_call_date stage probability forecast_category account_crm_id \
            stage_change_history[].prev_stage stage_change_history[].date_changed \
            close_date_change_history[].prev_close_date custom_fields[].key deal_reason",
        ),
    ] {
        let seen = seen(&workspace.rows(table));
        let missing = expected.split_whitespace().filter(|path| !seen.contains_key(*path));
        assert_eq!(missing.collect::<Vec<_>>(), Vec::<&str>::new(), "{table:?}");
    }
}

/// Some columns have more than one type.
#[test]
fn values_change_their_type_and_keys_stay_away() {
    let calls = all_details(&Options {
        calls: 500,
        turns: 12,
        oddities: 0.2,
        lone_surrogates: 0.1,
        ..Options::default()
    });
    let seen = seen(&calls);
    for (path, kinds) in [
        ("metrics.talk_listen_ratio", "fraction integer"),
        ("metrics.call_duration", "integer text"),
        ("summary.topics_discussed[].start_timestamp", "fraction text"),
        ("summary.key_takeaways", "list text"),
        ("transcript[].personId", "integer text"),
        ("transcript[].annotations", "list null"),
        ("crm_info.contact_ids", "list text"),
        ("metrics.categories", "list null"),
        ("contact_names", "list null"),
        ("summary", "null object"),
        ("audio_url", "null"),
    ] {
        let found: Vec<&str> = seen[path].iter().copied().collect();
        assert_eq!(found.join(" "), kinds, "{path}");
    }
    let absent = |key: &str| calls.iter().filter(|call| call.get(key).is_none()).count();
    for key in
        ["account_name", "deal_name", "crm_info", "icaluid", "bookmark_timestamps", "video_url"]
    {
        assert!(absent(key) > 0, "{key} is always there");
    }
    let text: String = calls.iter().map(Value::to_string).collect();
    assert!(text.contains("\"NaN\"") && text.contains("+0000\"") && text.contains("\\u0000"));
    assert!(text.contains(LONE_SURROGATE) && text.contains('🚀') && text.contains('\u{202b}'));
}

/// The output is the same on every machine.
#[test]
fn equal_options_give_equal_workspaces() {
    let options = Options { calls: 80, ..Options::default() };
    let print = |options: &Options| {
        let workspace = Workspace::generate(options);
        let cards = workspace.rows(Table::Scorecards);
        (
            workspace.calls_before(workspace.now() + chrono::Duration::days(90), true),
            cards,
            all_details(options),
        )
    };
    assert_eq!(print(&options), print(&options));
    assert_ne!(print(&options).0, print(&Options { seed: 2, ..options.clone() }).0);
}

/// A call looks the same in its list and alone.
#[test]
fn details_repeat_the_listed_record() {
    let workspace = Workspace::generate(&Options { calls: 50, ..Options::default() });
    for call in workspace.calls() {
        let Some(details) = workspace.details(call["id"].as_str().unwrap()) else { continue };
        for (key, value) in call.as_object().unwrap() {
            assert_eq!(&details[key], value);
        }
    }
}

/// Calls are not distributed evenly, and some windows are crowded.
#[test]
fn calls_keep_office_hours_and_begin_before_now() {
    let options = Options { calls: 2_000, ..Options::default() };
    let workspace = Workspace::generate(&options);
    let begun = workspace.calls_before(workspace.now(), true);
    assert_eq!(begun.len(), 2_000);
    let hour = |call: &Value| call["time"].as_str().unwrap()[11..13].parse::<u32>().unwrap();
    assert!(begun.iter().all(|call| (7..20).contains(&hour(call))));
    let first = begun[0]["time"].as_str().unwrap().to_owned();
    assert!(first.as_str() > "2025-10-21T12:00" && first.as_str() < "2025-10-23");
}
