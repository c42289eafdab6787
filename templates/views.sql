{#-
  The views over conversations, in the order in which they read each other. A path such as
  "c.metrics.call_duration" becomes the lake's column; `each` unnests a list. Every view of events
  groups and joins by `dt`, so that a condition on `dt` reaches the files.
#}
{%- macro surest(column, name) %}
  coalesce(
    max(case when participant_kind = 'user' then {{ column }} end),
    max(case when participant_kind = 'external' then {{ column }} end),
    max(case when participant_kind = 'joined' then {{ column }} end)
  ) as {{ name }},
{%- endmacro %}
-- view user_names: the last known name of each user
{{ self.create("user_names") }}
select
  {{ self.text("u.id") }} as user_id,
  max_by({{ self.text("u.name") }}, u.day) as name
from users as u
where {{ self.text("u.name") }} is not null
group by {{ self.text("u.id") }};

-- view participants: each mention of a person in a call
{{ self.create("participants") }}
{% if self.dialect.prunes_full_joins() -%}
with people as (
  -- The details come first, the list of calls where a list of the details is empty.
  select
    coalesce({{ self.text("d.id") }}, {{ self.text("c.id") }}) as call_id,
    coalesce({{ self.instant("d.time") }}, {{ self.instant("c.time") }}) as call_time,
    coalesce(d.dt, c.dt) as dt,
    {{ self.concat([
      self.people_of_both("users", "user"),
      self.people_of_both("externalParticipants", "external"),
      self.people_of_both("joinedParticipants", "joined")
    ]) }} as people
  from call_details_current as d
  full join calls_current as c
    on {{ self.same_dt("c", "d") }} and {{ self.text("c.id") }} = {{ self.text("d.id") }}
{%- else -%}
with lists as (
  -- The details come first, the list of calls where a list of the details is empty.
  select
    {{ self.text("d.id") }} as call_id,
    {{ self.instant("d.time") }} as call_time,
    d.dt,
    2 as source,
    {{ self.people("d", "users", "user") }} as users,
    {{ self.people("d", "externalParticipants", "external") }} as externals,
    {{ self.people("d", "joinedParticipants", "joined") }} as joined
  from call_details_current as d
  union all
  select
    {{ self.text("c.id") }} as call_id,
    {{ self.instant("c.time") }} as call_time,
    c.dt,
    1 as source,
    {{ self.people("c", "users", "user") }} as users,
    {{ self.people("c", "externalParticipants", "external") }} as externals,
    {{ self.people("c", "joinedParticipants", "joined") }} as joined
  from calls_current as c
),
people as (
  select
    call_id,
    max_by(call_time, source) as call_time,
    dt,
    {{ self.concat([
      "max_by(users, case when users is not null then source end)",
      "max_by(externals, case when externals is not null then source end)",
      "max_by(joined, case when joined is not null then source end)"
    ]) }} as people
  from lists
  group by dt, call_id
{%- endif %}
)
select
  p.call_id,
  p.participant_kind,
  p.participant_index,
  p.person_id,
  p.user_id,
  coalesce(p.name, n.name) as name,
  p.email,
  p.phone,
  p.is_organizer,
  p.call_time,
  p.dt
from (
  select
    c.call_id,
    person.kind as participant_kind,
    person.place as participant_index,
    person.person_id,
    person.user_id,
    person.name,
    person.email,
    person.phone,
    person.is_organizer,
    c.call_time,
    c.dt
  from {{ self.each_person("people") }}
) as p
left join user_names as n on n.user_id = p.user_id;

-- view speakers: who is behind a person_id of a call
{{ self.create("speakers") }}
select
  call_id,
  person_id,
{%- call surest("participant_kind", "speaker_kind") %}{% endcall %}
{%- call surest("name", "speaker_name") %}{% endcall %}
{%- call surest("email", "speaker_email") %}{% endcall %}
  max(user_id) as speaker_user_id,
  max(call_time) as call_time,
  dt
from participants
where person_id is not null
group by dt, call_id, person_id;

-- view turns: each turn of a transcript, and who spoke
{{ self.create("turns") }}
select
  t.call_id,
  t.turn_index,
  t.person_id,
  coalesce(s.speaker_kind, 'unknown') as speaker_kind,
  s.speaker_name,
  s.speaker_email,
  s.speaker_user_id,
  t.start_seconds,
  t.end_seconds,
  case when t.end_seconds >= t.start_seconds then t.end_seconds - t.start_seconds end as seconds,
  t.text,
  t.call_time,
  t.dt
from (
  select
    c.call_id,
    {{ self.dialect.place("turn") }} as turn_index,
    {{ self.integer("turn.personId") }} as person_id,
    {{ self.double("turn.start") }} as start_seconds,
    {{ self.double("turn.end") }} as end_seconds,
    {{ self.text("turn.text") }} as text,
    c.call_time,
    c.dt
  from {{ self.each("turn") }}
) as t
left join speakers as s
  on {{ self.same_dt("s", "t") }} and s.call_id = t.call_id and s.person_id = t.person_id;

-- view tracker_hits: what trackers and models found in the turns
{{ self.create("tracker_hits") }}
select
  t.call_id,
  t.turn_index,
  t.hit_index,
  t.person_id,
  coalesce(s.speaker_kind, 'unknown') as speaker_kind,
  s.speaker_name,
  s.speaker_email,
  s.speaker_user_id,
  t.tracker,
  t.category,
  t.label,
  t.phrase,
  t.start_seconds,
  t.end_seconds,
  t.call_time,
  t.dt
from (
  select
    c.call_id,
    {{ self.dialect.place("turn") }} as turn_index,
    {{ self.dialect.place("hit") }} as hit_index,
    {{ self.integer("turn.personId") }} as person_id,
    {{ self.text("hit.tracker") }} as tracker,
    {{ self.text("hit.category") }} as category,
    {{ self.text("hit.label") }} as label,
    {{ self.text("hit.phrase") }} as phrase,
    {{ self.double("turn.start") }} as start_seconds,
    {{ self.double("turn.end") }} as end_seconds,
    c.call_time,
    c.dt
  from {{ self.each("hit") }}
) as t
left join speakers as s
  on {{ self.same_dt("s", "t") }} and s.call_id = t.call_id and s.person_id = t.person_id;

-- view topics_discussed: the sections of summaries
{{ self.create("topics_discussed") }}
select
  c.call_id,
  {{ self.dialect.place("topic") }} as topic_index,
  {{ self.text("topic.name") }} as topic,
  {{ self.text("topic.summary") }} as summary,
  {{ self.seconds("topic.start_timestamp") }} as start_seconds,
  {{ self.seconds("topic.end_timestamp") }} as end_seconds,
  c.call_time,
  c.dt
from {{ self.each("topic") }};

-- view action_items: what was agreed to be done
{{ self.create("action_items") }}
select
  c.call_id,
  {{ self.dialect.place("task") }} as item_index,
  {{ self.text("task.action_item") }} as action_item,
  {{ self.text("task.owner_name") }} as owner_name,
  {{ self.text("task.speaker_name") }} as speaker_name,
  {{ self.text("task.timeline") }} as timeline,
  {{ self.text("task.reasoning") }} as reasoning,
  {{ self.seconds("task.start_timestamp") }} as start_seconds,
  {{ self.seconds("task.end_timestamp") }} as end_seconds,
  c.call_time,
  c.dt
from {{ self.each("task") }};

-- view daily_activity: calls and conversation by UTC day
{{ self.create("daily_activity") }}
select
  {{ self.day_of("c.time") }} as day,
  count(*) as calls,
  count(case when {{ self.turn_count() }} > 0 then 1 end) as transcribed_calls,
  {{ self.sum("c.metrics.call_duration") }} as call_seconds,
  {{ self.sum("c.metrics.total_speak_duration") }} as speak_seconds,
  {{ self.sum("c.metrics.talk_listen_ratio") }}
    / nullif(count({{ self.double("c.metrics.talk_listen_ratio") }}), 0) as mean_talk_listen_ratio,
  {{ self.sum("c.metrics.num_questions_asked") }} as questions,
  cast(coalesce(sum({{ self.turn_count() }}), 0) as bigint) as turns,
  cast(coalesce(sum({{ self.person_count("users") }}), 0) as bigint) as users,
  cast(coalesce(sum({{ self.person_count("externalParticipants") }}), 0) as bigint)
    as external_participants,
  {{ self.is_partial("c.time") }} as is_partial,
  c.dt
from calls_current as c
left join call_details_current as d
  on {{ self.same_dt("d", "c") }} and {{ self.text("d.id") }} = {{ self.text("c.id") }}
group by c.dt, {{ self.day_of("c.time") }};

-- view speaker_stats: how much each speaker of a call talked
{{ self.create("speaker_stats") }}
with turn as (
  select
    call_id,
    turn_index,
    person_id,
    -- Whole microseconds, whose sum is the same in every order.
    cast(round(coalesce(seconds, 0) * 1000000) as bigint) as micros,
    coalesce({{ self.dialect.count_matches("text", "[^ \\t\\r\\n]+") }}, 0) as words,
    coalesce({{ self.dialect.count_matches("text", "[?]+") }}, 0) as questions,
    start_seconds,
    end_seconds,
    case
      when turn_index > 0 and person_id is distinct from
        lag(person_id) over (partition by dt, call_id order by turn_index) then 1
      else 0
    end as is_switch,
    call_time,
    dt
  from turns
),
monologue_turn as (
  select
    *,
    sum(is_switch) over (
      partition by dt, call_id order by turn_index rows unbounded preceding
    ) as monologue
  from turn
),
monologue as (
  select
    call_id,
    person_id,
    sum(micros) as micros,
    count(*) as turns,
    sum(words) as words,
    sum(questions) as questions,
    max(is_switch) as switches,
    min(start_seconds) as start_seconds,
    max(end_seconds) as end_seconds,
    max(call_time) as call_time,
    dt
  from monologue_turn
  group by dt, call_id, monologue, person_id
),
speaker as (
  select
    call_id,
    person_id,
    sum(micros) as micros,
    max(micros) as longest,
    sum(turns) as turns,
    sum(words) as words,
    sum(questions) as questions,
    sum(switches) as switches,
    min(start_seconds) as start_seconds,
    max(end_seconds) as end_seconds,
    max(call_time) as call_time,
    dt
  from monologue
  group by dt, call_id, person_id
),
measured as (
  select
    *,
    cast(sum(micros) over (partition by dt, call_id) as double) as call_micros,
    cast(sum(switches) over (partition by dt, call_id) as double) as call_switches,
    max(end_seconds) over (partition by dt, call_id)
      - min(start_seconds) over (partition by dt, call_id) as call_seconds
  from speaker
)
select
  m.call_id,
  m.person_id,
  coalesce(s.speaker_kind, 'unknown') as speaker_kind,
  s.speaker_name,
  s.speaker_email,
  s.speaker_user_id,
  cast(m.micros as double) / 1000000 as talk_seconds,
  cast(m.micros as double) / nullif(m.call_micros, 0) as talk_share,
  cast(m.turns as bigint) as turns,
  cast(m.words as bigint) as words,
  cast(m.words as double) * 60000000 / nullif(m.micros, 0) as words_per_minute,
  cast(m.longest as double) / 1000000 as longest_monologue_seconds,
  cast(m.questions as bigint) as questions,
  cast(m.switches as bigint) as switches,
  m.call_switches * 60 / nullif(greatest(m.call_seconds, 0), 0) as interactivity,
  m.call_time,
  m.dt
from measured as m
left join speakers as s
  on {{ self.same_dt("s", "m") }} and s.call_id = m.call_id and s.person_id = m.person_id;

-- view conversations: a call and all that is known of it, in one row
{{ self.create("conversations") }}
select
  {{ self.text("c.id") }} as call_id,
  {{ self.text("c.title") }} as title,
  {{ self.text("c.type") }} as type,
  {{ self.text("c.status") }} as status,
  {{ self.text("c.disposition") }} as disposition,
  {{ self.instant("c.time") }} as call_time,
  {{ self.seconds_after("c.time", "c.metrics.call_duration") }} as end_time,
  {{ self.integer("c.metrics.call_duration") }} as duration_seconds,
  {{ self.text("c.account_name") }} as account_name,
  {{ self.text("c.crm_info.account_id") }} as account_id,
  {{ self.text("c.deal_name") }} as deal_name,
  {{ self.text("c.crm_info.deal_id") }} as deal_id,
  {{ self.number("c.deal_value") }} as deal_value,
  {{ self.text("c.deal_stage_before_call") }} as deal_stage_before_call,
  {{ self.text("d.deal_stage_live") }} as deal_stage_live,
  p.organizer_name,
  p.organizer_email,
  p.internal_participants,
  coalesce(p.internal_count, 0) as internal_count,
  p.external_participants,
  coalesce(p.external_count, 0) as external_count,
  coalesce({{ self.turn_count() }}, 0) as turns,
  {{ self.transcript() }} as transcript,
  {{ self.text("d.summary.full_summary") }} as summary,
  {{ self.text("d.summary.key_takeaways") }} as key_takeaways,
  {{ self.topic_names() }} as topics,
  {{ self.tasks() }} as action_items,
  {{ self.next_steps() }} as next_steps,
  s.scorecards,
  s.scorecard_total,
  {{ self.text("c.call_review_page_url") }} as call_review_page_url,
  c.dt
from calls_current as c
left join call_details_current as d
  on {{ self.same_dt("d", "c") }} and {{ self.text("d.id") }} = {{ self.text("c.id") }}
left join (
  select
    call_id,
    max(case when is_organizer then name end) as organizer_name,
    max(case when is_organizer then email end) as organizer_email,
    {{ self.dialect.sorted_list("coalesce(name, email)", "participant_index", "participant_kind = 'user'") }}
      as internal_participants,
    count(case when participant_kind = 'user' then 1 end) as internal_count,
    {{ self.dialect.sorted_list("coalesce(name, email)", "participant_index", "participant_kind = 'external'") }}
      as external_participants,
    count(case when participant_kind = 'external' then 1 end) as external_count,
    dt
  from participants
  group by dt, call_id
) as p on {{ self.same_dt("p", "c") }} and p.call_id = {{ self.text("c.id") }}
left join (
  select
    call_id,
    {{ self.dialect.map_agg("person_id", "coalesce(speaker_name, speaker_email)") }} as names,
    dt
  from speakers
  group by dt, call_id
) as n on {{ self.same_dt("n", "c") }} and n.call_id = {{ self.text("c.id") }}
-- A scorecard has the date on which it was found, not its call's.
left join (
  select
    {{ self.text("s.call_id") }} as call_id,
    count(*) as scorecards,
    {{ self.sum("s.total_score") }} as scorecard_total
  from scorecards as s
  group by {{ self.text("s.call_id") }}
) as s on s.call_id = {{ self.text("c.id") }};

-- view call_changes: each version of a row, and when it was written or found to be gone
{{ self.create("call_changes") }}
select
  'calls' as table_name,
  {{ self.text("c.id") }} as call_id,
  'upserted' as change,
  c.exported_at as changed_at,
  {{ self.instant("c.time") }} as call_time,
  c.dt
from calls as c
where c.deleted_at is null
union all
select
  'calls' as table_name,
  {{ self.text("c.id") }} as call_id,
  'deleted' as change,
  c.deleted_at as changed_at,
  {{ self.instant("c.time") }} as call_time,
  c.dt
from calls as c
where c.deleted_at is not null
union all
select
  'call_details' as table_name,
  {{ self.text("d.id") }} as call_id,
  'upserted' as change,
  d.exported_at as changed_at,
  {{ self.instant("d.time") }} as call_time,
  d.dt
from call_details as d
where d.deleted_at is null
union all
select
  'call_details' as table_name,
  {{ self.text("d.id") }} as call_id,
  'deleted' as change,
  d.deleted_at as changed_at,
  {{ self.instant("d.time") }} as call_time,
  d.dt
from call_details as d
where d.deleted_at is not null;
