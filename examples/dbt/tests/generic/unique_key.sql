{#- Values of the key that stand more than once, or have a null in them. -#}
{% test unique_key(model, columns) %}
{%- set names = columns | map('tojson') | list %}
SELECT {{ names | join(', ') }}, count(*) AS times FROM {{ model }} GROUP BY ALL
HAVING times > 1{% for name in names %} OR {{ name }} IS NULL{% endfor %}
{% endtest %}
