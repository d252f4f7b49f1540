#!/bin/bash
# Heads on stored maps (../README.md): idrid, of IDRiD's tiles, or scm, with the ablation of IBCA; with TABLE=heads also
# edd2020 and chula_rbc12.
#   make results SET=idrid DATA=DIR W=FILE             DIR as the head of idrid_tiles.yaml says, FILE mobilenetv2_100
#   make results SET=scm W=FILE HEADS="gap ibca" ABLATION=no SEEDS="0 1"    two rows alone
#   make results SET=edd2020 TABLE=heads DATA=DIR W=FILE BACKBONE=tf_efficientnet_lite0    another backbone, FILE its weights
# TRIALS a head, ABLATION=no leaves the parts of IBCA out. Goes on where it was stopped.
set -euf
BACKBONE=${BACKBONE:-mobilenetv2_100} SEEDS=${SEEDS:-0 1 2 3 4}
OUT=${OUT:-runs/results/${SET:-}-$BACKBONE}
: "${W:?the file of ImageNet weights of $BACKBONE}"
HEADS=${HEADS:-gap csra mil_attention ep attentive_pool att_vib c_gmvae cal caam ida query2label ml_decoder c_tran ts_former glori \
  lff gcn add_gcn ibca}
recipe=${SET:-}_maps trials=4 without=() more=() ablation=no
case ${SET:-} in
  idrid)
    without=(--without SE) ablation=yes
    maps=(--config idrid_tiles --data.root "${DATA:?the folder of the tiles}")
    ;;
  scm)
    trials=6 ablation=yes
    maps=(--config scm --model.feature_stride "[8, 16]")
    maps+=(--data.image_size 96 --data.train_size 100 --data.seed 7)
    ;;
  edd2020 | chula_rbc12) # the recipe of the maps with marks, on maps without; validation is small, and the last epoch counts
    recipe=${SET}_marks more=(--trainer.check_val_every_n_epoch 25)
    maps=(--config "$SET" --data.root "${DATA:?the folder of the data}" --data.image_size 256 --views 4)
    ;;
  *) echo "error: SET scm, idrid, edd2020 or chula_rbc12, got ${SET:-none}; see experiments/README.md" >&2 && exit 2 ;;
esac
ibca maps "${maps[@]}" --model.backbone "$BACKBONE" --model.checkpoint_path "$W" --data.num_workers 0 --output "$OUT/maps"
fit=(--config "$recipe" --data.root "$OUT/maps" --model.backbone "$BACKBONE" --model.checkpoint_path "$W" ${more[@]+"${more[@]}"})
for head in $HEADS; do
  ibca tune "${fit[@]}" --head "$head" --trials "${TRIALS:-$trials}" --output "$OUT/tune/$head"
done
ibca sweep "${fit[@]}" --heads $HEADS --seeds $SEEDS --tuned "$OUT/tune" --output "$OUT/runs"
ibca probe --config "$recipe" --data.root "$OUT/maps" --output "$OUT/probe"
ibca compare "$OUT/runs" "$OUT/probe" --reference best ${without[@]+"${without[@]}"} --per_class \
  --differences mAP attention_gain pixel_AP pointing_game --output "$OUT/compared"
[ -d "$OUT/tune/ibca" ] && [ "${ABLATION:-$ablation}" = yes ] || exit 0
ibca sweep "${fit[@]}" --variants "$(dirname "$0")/../variants/ibca.yaml" --seeds $SEEDS --tuned "$OUT/tune" \
  --output "$OUT/ablation"
ibca compare "$OUT/ablation" --reference full ${without[@]+"${without[@]}"} --output "$OUT/ablation"
