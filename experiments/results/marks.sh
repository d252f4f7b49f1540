#!/bin/bash
# Shortcuts on real pictures (../README.md), one data set: edd2020, chula_rbc12 or idrid_tiles.
#   make results SET=edd2020 DATA=DIR W=FILE                       DIR as the head of edd2020.yaml says, FILE mobilenetv2_100
#   make results SET=edd2020 DATA=DIR W=FILE HEADS=csra SEEDS=0    one row
# Each head has three rates, with the term NoiseIntervention and without it; validation chooses, which has the marks too.
# Goes on where it was stopped.
set -euf
: "${DATA:?the folder of the data}" "${W:?the file of ImageNet weights of mobilenetv2_100}"
HEADS=${HEADS:-gap csra mil_attention ml_decoder ibca} SEEDS=${SEEDS:-0 1 2} OUT=${OUT:-runs/results/${SET:-}}
epochs=25 views=(--views 4 --drawn 4)
case ${SET:-} in
  edd2020) kinds='[instrument, stain, text, bubbles, ink_dots]' ;;
  chula_rbc12) kinds='[pen_ring, stain, hair, bubbles, ruler, text, ink_dots, ink_line]' ;;
  idrid_tiles) kinds='[lashes, text, shadow, hair]' epochs=6 views=(--views 1 --drawn 1 --data.image_size 256) ;;
  *) echo "error: SET scm, idrid, edd2020, chula_rbc12 or idrid_tiles, got ${SET:-none}" >&2 && exit 2 ;;
esac
maps=(--config "$SET" --data.root "$DATA" --model.checkpoint_path "$W" --data.num_workers 0 "${views[@]}")
ibca maps "${maps[@]}" --data.marks.kinds "$kinds" --output "$OUT/maps"
ibca maps "${maps[@]}" --output "$OUT/unmarked"

# GAP is linear, and learns at higher rates. The others have a projection of the map in front, as IBCA has.
mkdir -p "$OUT/heads"
echo 'model.optimizer.lr: {choice: [3.0e-4, 1.0e-3]}' > "$OUT/rates.yaml" # the recipe's 3.0e-3 is tried first
echo 'model.optimizer.lr: {choice: [1.0e-3, 1.0e-2]}' > "$OUT/rates_gap.yaml"
echo 'model: {head: {class_path: CSRAHead, init_args: {width: 256}}}' > "$OUT/heads/csra.yaml"
echo 'model: {head: {class_path: MILAttentionHead, init_args: {width: 256}}}' > "$OUT/heads/mil_attention.yaml"
fit=(--config "${SET}_marks" --model.checkpoint_path "$W" --trainer.check_val_every_n_epoch "$epochs")
for kind in "" _noise; do
  given=() term=()
  [ -z "$kind" ] || term=(--model.terms "[noise_intervention]" --data.drawn_noise 0.5)
  for head in $HEADS; do
    file="$OUT/heads/$head.yaml"
    [ -f "$file" ] || file=$head
    given+=("$file")
    space="$OUT/rates_$head.yaml"
    [ -f "$space" ] || space="$OUT/rates.yaml"
    ibca tune "${fit[@]}" --data.root "$OUT/maps" ${term[@]+"${term[@]}"} --head "$file" --space "$space" --sampler grid --trials 3 \
      --output "$OUT/tune$kind/$head"
  done
  for kept in maps unmarked; do
    ibca sweep "${fit[@]}" --data.root "$OUT/$kept" ${term[@]+"${term[@]}"} --heads "${given[@]}" --seeds $SEEDS --tuned "$OUT/tune$kind" \
      --output "$OUT/runs_$kept$kind"
  done
done
for kept in maps unmarked; do
  ibca probe --config "${SET}_marks" --data.root "$OUT/$kept" --output "$OUT/probe_$kept"
done

# Without the term, with it, the last columns of the page (without IBCA: against the best), and all against plain GAP.
marked=best clean=best
[ ! -d "$OUT/tune_noise/ibca" ] || marked=runs_maps_noise/ibca clean=runs_unmarked/ibca
ibca compare "$OUT/runs_maps" --reference best --output "$OUT/compared/plain"
ibca compare "$OUT/runs_maps_noise" --reference best --output "$OUT/compared/noise"
ibca compare "$OUT/runs_maps" "$OUT/runs_maps_noise" "$OUT/probe_maps" --reference "$marked" --output "$OUT/compared/marked"
ibca compare "$OUT/runs_unmarked" "$OUT/runs_unmarked_noise" "$OUT/probe_unmarked" --reference "$clean" --output "$OUT/compared/clean"
[ ! -d "$OUT/tune_noise/gap" ] || ibca compare "$OUT/runs_maps" "$OUT/runs_maps_noise" --reference runs_maps/gap --output "$OUT/compared/to_gap"
