
SELECT parcel_id, sent_at, weight, distance, carrier, fragile, outcome
FROM source.parcels
WHERE sent_at >= :period_start AND sent_at < :period_end
