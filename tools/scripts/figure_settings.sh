# What tools/scripts/figure.sh and tools/scripts/figure_tasks.sh share: which experiments belong to the figure, in what
# order, and where they are. To be sourced.

# The order gives most for the next hour: small networks of each family before large ones, CIFAR-10 before CIFAR-100.
kOrder=(
  "resnet20 cifar10" "vgg16_bn cifar10" "mobilenet_v2_1.0_cifar cifar10" "resnet56 cifar10" "resnet32 cifar10"
  "resnet44 cifar10" "mobilenet_v2_0.75_cifar cifar10" "mobilenet_v2_1.4_cifar cifar10" "vgg19_bn cifar10"
  "resnet20 cifar100" "mobilenet_v2_1.0_cifar cifar100" "vgg16_bn cifar100" "resnet56 cifar100" "resnet32 cifar100"
  "resnet44 cifar100" "mobilenet_v2_0.75_cifar cifar100" "mobilenet_v2_1.4_cifar cifar100" "vgg19_bn cifar100"
)

budget=${BUDGET:-}
seed=${SEED:-1}
# With a budget it is another, quicker experiment, which must not take the place of the whole one.
runs=${RUNS:-runs/figure${budget:+-${budget}h}}
results=${RESULTS:-$([ -z "$budget" ] && echo results || echo "$runs")}

name_of() { echo "$1-$2$([ "$seed" = 1 ] || echo "-seed$seed")"; }

# is_finished CURVE.json: false if depths are left; ends the script if it is no curve's file.
is_finished() {
  local left
  left=$(jq -e '(.plan.depths | length) - (.points | length)' "$1" 2>/dev/null) ||
    { echo "$(basename "$0"): $1: cut short, or not a curve.json of pleat curve" >&2; exit 1; }
  [ "$left" -eq 0 ]
}

command -v jq >/dev/null || { echo "$(basename "$0"): jq is missing; tools/scripts/setup.sh figure installs it" >&2; exit 1; }
for network in ${NETWORKS:-}; do
  [[ " ${kOrder[*]} " == *" $network "* ]] ||
    { echo "$(basename "$0"): NETWORKS: '$network' is not in the paper's figure" >&2; exit 2; }
done
for data in ${DATA:-}; do
  [[ $data = cifar10 || $data = cifar100 ]] ||
    { echo "$(basename "$0"): DATA: got '$data', expected cifar10 or cifar100" >&2; exit 2; }
done
tasks=()
for task in "${kOrder[@]}"; do
  read -r network data <<<"$task"
  [[ -z ${NETWORKS:-} || " $NETWORKS " == *" $network "* ]] || continue
  [[ -z ${DATA:-} || " $DATA " == *" $data "* ]] || continue
  tasks+=("$task")
done
