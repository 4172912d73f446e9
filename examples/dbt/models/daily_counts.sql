SELECT
    {{ var('day') }} AS day,
    count(*) AS rows,
    count(anomaly_score) AS scored,
    count(*) FILTER (WHERE is_anomaly) AS flagged,
    count(*) FILTER (WHERE is_anomaly) / nullif(count(anomaly_score), 0) AS rate,
    max(anomaly_score) AS highest_score
FROM {{ source('vae_anomaly', 'scored') }}
GROUP BY ALL
ORDER BY day
