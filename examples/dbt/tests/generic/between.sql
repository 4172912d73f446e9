{#- Values out of a range: NaN and the infinities too, for DuckDB takes NaN for the largest number. Nulls are in none. -#}
{% test between(model, column_name, lowest, highest) %}
SELECT {{ column_name }} FROM {{ model }} WHERE {{ column_name }} NOT BETWEEN {{ lowest }} AND {{ highest }}
{% endtest %}
