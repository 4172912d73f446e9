#!/usr/bin/env bash
# Runs the job as Spark on Kubernetes, driver and executors in the cluster:
#   KUBERNETES_API=https://10.0.0.1:6443 IMAGE=registry/spark-vae-anomaly:spark examples/kubernetes/submit.sh \
#     --config conf/daily.yaml --param ds=2026-01-31
# The arguments are those of `vae-anomaly run`. conf/ is the ConfigMap that pod.yaml names. More of Spark's settings come from
# the file of its own defaults, or from SPARK_OPTIONS.
set -euo pipefail
: "${KUBERNETES_API:?the address of the cluster: kubectl cluster-info}"
: "${IMAGE:?the image of containers/Dockerfile.spark, where the cluster can pull it}"
here=$(cd "$(dirname "$0")" && pwd)

# shellcheck disable=SC2086 # several options, by spaces
exec spark-submit --master "k8s://$KUBERNETES_API" --deploy-mode cluster --name vae-anomaly \
    --conf spark.kubernetes.namespace=anomaly \
    --conf spark.kubernetes.authenticate.driver.serviceAccountName=spark-driver \
    --conf spark.kubernetes.container.image="$IMAGE" \
    --conf spark.kubernetes.driver.podTemplateFile="$here/pod.yaml" \
    --conf spark.kubernetes.executor.podTemplateFile="$here/pod.yaml" \
    --conf spark.sql.extensions=io.delta.sql.DeltaSparkSessionExtension \
    --conf spark.sql.catalog.spark_catalog=org.apache.spark.sql.delta.catalog.DeltaCatalog \
    --conf spark.driver.memory=3g \
    --conf spark.executor.instances=2 --conf spark.executor.cores=2 --conf spark.executor.memory=2g \
    --conf spark.executor.memoryOverhead=1g \
    ${SPARK_OPTIONS:-} \
    local:///opt/job/run.py "$@"
