"""Classifies the texts of Parquet files with Spark: each task loads the model once and answers rows in batches.

    spark-submit examples/predict_spark.py MODEL INPUT OUTPUT_DIRECTORY

MODEL is a checkpoint, or a directory that `mobilebert export --padding-invariant` wrote: so an answer does not depend
on what else is in its batch, however Spark cuts the table. Every machine reads MODEL under the same path. Needs
`pip install pyspark` and Java.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from pyspark.sql import SparkSession
from pyspark.sql.functions import col, pandas_udf

from mobilebert import pipeline

ROWS = 1024  # that a worker gets at a time


def main(model: str, source: str, output: str) -> None:
    spark = SparkSession.builder.appName("mobilebert").getOrCreate()
    spark.conf.set("spark.sql.execution.arrow.maxRecordsPerBatch", ROWS)
    if Path(model).exists():
        model = str(Path(model).resolve())  # executors work in directories of their own

    @pandas_udf("label string, score double")
    def classified(batches: Iterator[pd.Series]) -> Iterator[pd.DataFrame]:
        classify = pipeline("text-classification", model, top_k=1, padding_invariant=True)
        for texts in batches:
            yield pd.DataFrame(list(classify(texts.tolist())), columns=["label", "score"])

    rows = spark.read.parquet(source)
    # Spark cuts a file between its row groups at most: one of a few megabytes would be the work of a single task.
    if rows.rdd.getNumPartitions() < (least := 4 * spark.sparkContext.defaultParallelism):
        rows = rows.repartition(least)
    answers = rows.withColumn("answer", classified(col("text")))
    answers.select(*rows.columns, "answer.label", "answer.score").write.parquet(output)
    spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
