//! Names: valid endpoint names, and guesses at misspelled ones.

/// Reserved: folders next to those of the tables' manifests.
const RESERVED: [&str; 3] = ["quota", "runs", "forgotten"];

/// Whether an endpoint may have this name, which its table's folder has too, in every store and in
/// every engine.
///
/// # Errors
/// The reason it may not.
pub fn check_name(name: &str) -> Result<(), String> {
    let plain = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_';
    let begins_well = name.starts_with(|it: char| it.is_ascii_lowercase());
    if RESERVED.contains(&name) {
        return Err(format!(
            "`{name}` is reserved for a folder of the lake, so no table can have this name"
        ));
    }
    if begins_well && name.chars().all(plain) && name.len() <= 64 {
        return Ok(());
    }
    Err("an endpoint file's name is the table's name: at most 64 lower-case letters, digits and \
         `_`, beginning with a letter"
        .to_owned())
}

/// The canonical form of a name that is spelled another way: `Scorecard Templates`, `call-details`,
/// `userStats`, `/v2/topics`.
#[must_use]
pub fn plain_name(name: &str) -> String {
    let mut plain = String::new();
    let mut was_lowercase = false;
    for letter in name.trim_matches(|it: char| !it.is_alphanumeric()).chars() {
        let begins_word = letter.is_uppercase() && was_lowercase;
        was_lowercase = letter.is_lowercase();
        let is_gap = !letter.is_alphanumeric();
        if (begins_word || is_gap) && !plain.ends_with('_') {
            plain.push('_');
        }
        plain.extend(letter.to_lowercase().filter(|it| it.is_alphanumeric()));
    }
    match plain.as_str() {
        "v2_topics" | "topicsv2" => "topics_v2".to_owned(),
        "scorecard" => "scorecards".to_owned(),
        "scorecard_template" => "scorecard_templates".to_owned(),
        "stats" | "user_stat" => "user_stats".to_owned(),
        "stats_aggregate" | "aggregated_stats" => "aggregate_stats".to_owned(),
        "call_detail" => "call_details".to_owned(),
        _ => plain,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_another_spelling_is_known() {
        for (given, meant) in [
            ("Scorecard Templates", "scorecard_templates"),
            ("scorecard-template", "scorecard_templates"),
            ("/scorecard", "scorecards"),
            ("call-details", "call_details"),
            ("CallDetails", "call_details"),
            ("topicsV2", "topics_v2"),
            ("Topics V2", "topics_v2"),
            ("/v2/topics", "topics_v2"),
            ("stats", "user_stats"),
            ("userStats", "user_stats"),
            ("/stats/aggregate", "aggregate_stats"),
            ("Aggregate  stats", "aggregate_stats"),
            ("Calls", "calls"),
            ("PLAYLIST_CALLS", "playlist_calls"),
        ] {
            assert_eq!(plain_name(given), meant, "{given}");
        }
    }
}
