-- The rows of a period: key, event time, features and target, one row a flower.
SELECT sample_key,
       observed_at,
       sepal_length,
       sepal_width,
       petal_length,
       petal_width,
       species
FROM source.iris
WHERE observed_at >= :period_start
  AND observed_at < :period_end
