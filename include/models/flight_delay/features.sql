-- The rows of a period: key, event time, features and target, one row a scheduled flight.
-- Only what is known before departure is a feature. The weather is that of the scheduled hour, as a forecast would say.
WITH scheduled AS (
    SELECT *, date_trunc('hour', scheduled_at) AS hour
    FROM source.flights
    WHERE scheduled_at >= :period_start
      AND scheduled_at < :period_end
),
-- How late the departures of each hour were, by the hour in which they really left.
-- One day further back than the period, for its first hours.
departed AS (
    SELECT origin,
           date_trunc('hour', scheduled_at + dep_delay * interval '1 minute') AS hour,
           count(*) AS flights,
           sum(least(greatest(dep_delay, -15), 120)) AS minutes  -- one flight of 20 hours late must not speak for all
    FROM source.flights
    WHERE scheduled_at >= CAST(:period_start AS timestamptz) - interval '1 day'
      AND scheduled_at < :period_end
      AND dep_delay IS NOT NULL
    GROUP BY 1, 2
),
planned AS (
    SELECT origin, hour, count(*) AS flights
    FROM scheduled
    GROUP BY origin, hour
),
-- The three full hours that ended an hour before the scheduled hour begins: their departures are known by then.
airport AS (
    SELECT planned.origin,
           planned.hour,
           planned.flights AS planned_departures,
           sum(departed.minutes)::float8 / sum(departed.flights)::float8 AS recent_delay
    FROM planned
    LEFT JOIN departed
           ON departed.origin = planned.origin
          AND departed.hour >= planned.hour - interval '4 hours'
          AND departed.hour <= planned.hour - interval '2 hours'
    GROUP BY planned.origin, planned.hour, planned.flights
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
