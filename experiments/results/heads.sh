#!/bin/bash
# Heads on stored maps (../README.md): idrid, of IDRiD's tiles, or scm, with the ablation of IBCA.
#   make results SET=idrid DATA=DIR W=FILE             DIR as the head of idrid_tiles.yaml says, FILE mobilenetv2_100
#   make results SET=scm W=FILE HEADS="gap ibca" ABLATION=no SEEDS="0 1"    two rows alone
# Goes on where it was stopped.
set -euf
: "${W:?the file of ImageNet weights of mobilenetv2_100}"
HEADS=${HEADS:-gap csra mil_attention att_vib c_gmvae cal caam ida query2label ml_decoder c_tran ts_former lff ibca}
SEEDS=${SEEDS:-0 1 2 3 4} OUT=${OUT:-runs/results/${SET:-}}
case ${SET:-} in
  idrid) trials=4 without=(--without SE) maps=(--config idrid_tiles --data.root "${DATA:?the folder of the tiles}") ;;
  scm)
    trials=6 without=()
    maps=(--config scm --model.backbone mobilenetv2_100 --model.feature_stride "[8, 16]")
    maps+=(--data.image_size 96 --data.train_size 100 --data.seed 7)
    ;;
  *) echo "error: SET scm or idrid, got ${SET:-none}; see experiments/README.md" >&2 && exit 2 ;;
esac
ibca maps "${maps[@]}" --model.checkpoint_path "$W" --data.num_workers 0 --output "$OUT/maps"
fit=(--config "${SET}_maps" --data.root "$OUT/maps" --model.checkpoint_path "$W")
for head in $HEADS; do
  ibca tune "${fit[@]}" --head "$head" --trials "${TRIALS:-$trials}" --output "$OUT/tune/$head"
done
ibca sweep "${fit[@]}" --heads $HEADS --seeds $SEEDS --tuned "$OUT/tune" --output "$OUT/runs"
ibca probe --config "${SET}_maps" --data.root "$OUT/maps" --output "$OUT/probe"
ibca compare "$OUT/runs" "$OUT/probe" --reference best "${without[@]}" --per_class \
  --differences mAP attention_gain pixel_AP pointing_game --output "$OUT/compared"
[ -d "$OUT/tune/ibca" ] && [ "${ABLATION:-yes}" = yes ] || exit 0
ibca sweep "${fit[@]}" --variants "$(dirname "$0")/../variants/ibca.yaml" --seeds $SEEDS --tuned "$OUT/tune" \
  --output "$OUT/ablation"
ibca compare "$OUT/ablation" --reference full "${without[@]}" --output "$OUT/ablation"
