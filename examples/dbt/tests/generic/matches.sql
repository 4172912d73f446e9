{#- Texts that are not as a pattern says, whole. -#}
{% test matches(model, column_name, pattern) %}
SELECT {{ column_name }} FROM {{ model }} WHERE NOT regexp_full_match({{ column_name }}, '{{ pattern }}')
{% endtest %}
