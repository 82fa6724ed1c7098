"""ALS on Apache Spark, with the kernels of fastals inside the tasks.

:class:`ALS` and :class:`ALSModel` are those of ``pyspark.ml.recommendation``: the same parameters, schemas and files.
Spark schedules, shuffles, stores and recovers; nothing here needs more of it than DataFrames and Arrow, so that the
same code runs in classic Spark and over Spark Connect.
"""
