-- Who talks how much, week by week. With the lake's definitions before it:
--
--     (clari-lake sql ./lake --engine duckdb; cat talk_time.sql) | duckdb
select
    date_trunc('week', dt) as week,
    speaker_name,
    count(distinct call_id) as calls,
    count(*) as turns,
    round(sum(seconds) / 60, 1) as minutes
from turns
where speaker_kind = 'user'
group by all
order by week, minutes desc, speaker_name;
