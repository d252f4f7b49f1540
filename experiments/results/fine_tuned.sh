#!/bin/bash
# Backbone and head trained together (../README.md): idrid_tiles, edd2020, chula_rbc12; for a GPU, or SIZE=128 PRECISION=32-true.
#   make results SET=edd2020 TABLE=fine_tuned DATA=DIR W=FILE              DIR as the head of edd2020.yaml says, FILE mobilenetv2_100
#   make results SET=edd2020 TABLE=fine_tuned MARKS=yes DATA=DIR W=FILE    under drawn marks, and the term NoiseIntervention too
#   make results SET=edd2020 TABLE=fine_tuned DATA=DIR W=FILE HEADS=csra SEEDS=0    one row
# Three rates a head, the backbone's a tenth of it; validation chooses, which has the marks too. The last epoch counts.
# PROCESSES runs at once. Goes on where it was stopped.
set -euf
: "${DATA:?the folder of the data}" "${W:?the file of ImageNet weights of mobilenetv2_100}"
MARKS=${MARKS:-} SEEDS=${SEEDS:-0 1 2} PROCESSES=${PROCESSES:-1}
HEADS=${HEADS:-gap csra mil_attention ida ml_decoder ibca} OUT=${OUT:-runs/results/fine_tuned-${SET:-}${MARKS:+-marks}}
epochs=15
case ${SET:-} in
  edd2020) kinds='[instrument, stain, text, bubbles, ink_dots]' ;;
  chula_rbc12) kinds='[pen_ring, stain, hair, bubbles, ruler, text, ink_dots, ink_line]' ;;
  idrid_tiles) kinds='[lashes, text, shadow, hair]' epochs=6 ;;
  *) echo "error: SET edd2020, chula_rbc12 or idrid_tiles, got ${SET:-none}" >&2 && exit 2 ;;
esac
mkdir -p "$OUT/heads"
echo 'model.optimizer.lr: {choice: [6.0e-4, 6.0e-3]}' > "$OUT/rates.yaml" # the recipe's 2.0e-3 is tried first
echo 'model: {head: {class_path: CSRAHead, init_args: {width: 256}}}' > "$OUT/heads/csra.yaml"
echo 'model: {head: {class_path: MILAttentionHead, init_args: {width: 256}}}' > "$OUT/heads/mil_attention.yaml"
fit=(--config "$SET" --data.root "$DATA" --model.checkpoint_path "$W" --model.freeze_backbone false
  --model.backbone_lr_scale 0.1 --data.image_size "${SIZE:-256}" --data.cache memory --data.num_workers 0
  --trainer.precision "${PRECISION:-bf16-mixed}" --trainer.max_epochs "$epochs" --trainer.check_val_every_n_epoch "$epochs")
[ -z "$MARKS" ] || fit+=(--data.marks.kinds "$kinds")
compared=()
for kind in "" ${MARKS:+_noise}; do
  term=() given=()
  [ -z "$kind" ] || term=(--model.terms "[noise_intervention]" --data.drawn_noise 0.5)
  for head in $HEADS; do
    file="$OUT/heads/$head.yaml"
    [ -f "$file" ] || file=$head
    given+=("$file")
    ibca tune "${fit[@]}" ${term[@]+"${term[@]}"} --head "$file" --space "$OUT/rates.yaml" --sampler grid --trials 3 \
      --processes "$PROCESSES" --output "$OUT/tune$kind/$head"
  done
  ibca sweep "${fit[@]}" ${term[@]+"${term[@]}"} --heads "${given[@]}" --seeds $SEEDS --tuned "$OUT/tune$kind" \
    --processes "$PROCESSES" --output "$OUT/runs$kind"
  compared+=("$OUT/runs$kind")
done
ibca compare "${compared[@]}" --reference best --per_class --output "$OUT/compared"
