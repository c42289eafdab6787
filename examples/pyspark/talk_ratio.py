"""The talk ratio of each rep by month, from the files of a lake.

    spark-submit talk_ratio.py LAKE OUTPUT
"""

import sys

from pyspark.sql import SparkSession
from pyspark.sql import functions as F


def talk_ratio(spark, lake):
    calls = spark.read.parquet(f"{lake}/calls").where("deleted_at is null")
    mentions = calls.select("id", "dt", "metrics.talk_listen_ratio", F.explode("users").alias("user"))
    # Names are in the snapshots of users; the newest one counts.
    users = spark.read.parquet(f"{lake}/users")
    newest = users.agg(F.max("dt")).first()[0]
    names = users.where(F.col("dt") == newest).select(F.col("id").alias("user_id"), "name")
    return (
        mentions.join(names, mentions.user.userId == names.user_id, "left")
        .groupBy(F.date_trunc("month", "dt").cast("date").alias("month"), "user_id", "name")
        .agg(F.countDistinct("id").alias("calls"), F.avg("talk_listen_ratio").alias("talk_ratio"))
    )


if __name__ == "__main__":
    lake, output = sys.argv[1:]
    spark = SparkSession.builder.appName("talk_ratio").getOrCreate()
    spark.conf.set("spark.sql.session.timeZone", "UTC")
    talk_ratio(spark, lake).coalesce(1).write.mode("overwrite").parquet(output)
    spark.read.parquet(output).orderBy("month", F.desc("calls")).show(5, truncate=False)
