-- Lists count from 1 in DuckDB; where nothing is blamed, the first of an empty list is null.
SELECT
    {{ var('key') | map('tojson') | join(', ') }},
    anomaly_score,
    anomaly_p_value,
    anomaly_reasons[1].feature AS top_feature,
    anomaly_reasons[1].observed AS observed,
    anomaly_reasons[1].expected AS expected,
    anomaly_reasons[1].share AS share,
    anomaly_model,
    anomaly_run
FROM {{ source('vae_anomaly', 'scored') }}
WHERE is_anomaly
ORDER BY anomaly_p_value, anomaly_score DESC
