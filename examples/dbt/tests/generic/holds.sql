{#- Rows of which a rule is not true: false, or null. -#}
{% test holds(model, rule) %}
SELECT * FROM {{ model }} WHERE ({{ rule }}) IS NOT TRUE
{% endtest %}
