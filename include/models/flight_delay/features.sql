-- The rows of a period: key, event time, features and target, one row a scheduled flight.
-- Only what is known before departure is a feature. The weather is that of the scheduled hour, as a forecast would say.
WITH scheduled AS (
    SELECT *, date_trunc('hour', scheduled_at) AS hour
    FROM source.flights
    WHERE scheduled_at >= :period_start
      AND scheduled_at < :period_end
),
-- By airport and hour: how many departures were planned, how many really left, and how late those were.
-- One day further back than the period, for its first hours.
hourly AS (
    SELECT origin, hour, count(*) AS planned, 0 AS departed, 0 AS minutes
    FROM scheduled
    GROUP BY origin, hour
    UNION ALL
    SELECT origin,
           date_trunc('hour', scheduled_at + dep_delay * interval '1 minute'),
           0,
           count(*),
           sum(least(greatest(dep_delay, -15), 120))  -- one flight 20 hours late must not speak for all
    FROM source.flights
    WHERE scheduled_at >= CAST(:period_start AS timestamptz) - interval '1 day'
      AND scheduled_at < :period_end
      AND dep_delay IS NOT NULL
    GROUP BY 1, 2
),
-- The three full hours that end an hour before the scheduled hour begins: their departures are known by then.
airport AS (
    SELECT origin,
           hour,
           sum(planned)::int AS planned_departures,
           sum(sum(minutes)) OVER recent::float8 / nullif(sum(sum(departed)) OVER recent, 0)::float8 AS recent_delay
    FROM hourly
    GROUP BY origin, hour
    WINDOW recent AS (
        PARTITION BY origin ORDER BY hour RANGE BETWEEN interval '4 hours' PRECEDING AND interval '2 hours' PRECEDING
    )
)
SELECT flight.flight_key,
       flight.scheduled_at,
       flight.carrier,
       flight.origin,
       flight.dest,
       flight.distance,
       extract(hour FROM flight.scheduled_local)::int * 60
           + extract(minute FROM flight.scheduled_local)::int AS minute_of_day,
       extract(isodow FROM flight.scheduled_local)::int AS weekday,
       airport.planned_departures,
       airport.recent_delay,
       weather.temp AS temperature,
       weather.humid AS humidity,
       CASE WHEN weather.wind_speed <= 200 THEN weather.wind_speed END AS wind_speed,  -- one reading says 1,048
       weather.precip AS precipitation,
       weather.visib AS visibility,
       weather.pressure,
       CASE WHEN plane.built_year IS NOT NULL  -- greatest() alone would make 0 of null
            THEN greatest(extract(year FROM flight.scheduled_local)::int - plane.built_year, 0) END AS plane_age,
       plane.seats AS plane_seats,
       plane.engine,
       -- Null while not known, and for ever when cancelled or diverted.
       CASE WHEN flight.arr_delay > 15 THEN 'late' WHEN flight.arr_delay <= 15 THEN 'on_time' END AS arrival
FROM scheduled AS flight
JOIN airport ON airport.origin = flight.origin AND airport.hour = flight.hour
LEFT JOIN source.weather AS weather ON weather.origin = flight.origin AND weather.observed_at = flight.hour
LEFT JOIN source.planes AS plane ON plane.tailnum = flight.tailnum
