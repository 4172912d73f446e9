#!/usr/bin/env bash
# What Spark on Kubernetes starts a container by: `driver` with the arguments of spark-submit, or `executor`, which is told
# everything by variables. Anything else is a command of one's own, such as spark-submit or vae-anomaly.
set -euo pipefail
init=()  # where it is there: the first process of a container has to bury the others
command -v tini >/dev/null && init=(tini -s --)

case "${1:-}" in
    driver)
        shift
        exec "${init[@]}" "$SPARK_HOME/bin/spark-submit" --deploy-mode client \
            --conf "spark.driver.bindAddress=$SPARK_DRIVER_BIND_ADDRESS" "$@" ;;
    executor)
        mapfile -t options < <(env | sed -n 's/^SPARK_JAVA_OPT_\([0-9]\+\)=/\1 /p' | sort -n | cut -d ' ' -f 2-)
        class_path=${SPARK_CONF_DIR:-/opt/spark/conf}:$SPARK_HOME/jars/*
        exec "${init[@]}" "${JAVA_HOME:+$JAVA_HOME/bin/}java" "${options[@]}" \
            "-Xms$SPARK_EXECUTOR_MEMORY" "-Xmx$SPARK_EXECUTOR_MEMORY" \
            -cp "$class_path${SPARK_EXTRA_CLASSPATH:+:$SPARK_EXTRA_CLASSPATH}" \
            org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend \
            --driver-url "$SPARK_DRIVER_URL" --executor-id "$SPARK_EXECUTOR_ID" --cores "$SPARK_EXECUTOR_CORES" \
            --app-id "$SPARK_APPLICATION_ID" --hostname "$SPARK_EXECUTOR_POD_IP" \
            --resourceProfileId "$SPARK_RESOURCE_PROFILE_ID" --podName "$SPARK_EXECUTOR_POD_NAME" ;;
    *) exec "${init[@]}" "$@" ;;
esac
