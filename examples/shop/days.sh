#!/bin/sh
# Three days of a shop: sh days.sh DIR [redis://...]
#
# DIR is what make_log.py wrote. Lists go to files there, or to Redis.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
cd "$1"
to=${2:-recommendations.jsonl}
similar=${2:-similar.jsonl}
cp "$here/pipeline.toml" .
lists="--n 10 --catalogue catalogue.csv --blocklist blocklist.txt --titles titles.csv --item-column sku"

# The first night: all of the log, a model measured on its last three days, lists published.
fastals run pipeline.toml --set date=2025-03-22 --set to="$to" --set similar_to="$similar" --summary first.json

# Two days come. Each is taken into the model, which ages what it holds; a whole fit is not due yet.
for day in 2025-03-22 2025-03-23; do
    mv "new/dt=$day" log/
    fastals update model "log/dt=$day"
    fastals publish model --to "$to" $lists --quiet
done
fastals info model

# The third night: a whole fit again, beside the model that is served; it takes its place if it is no stranger to it.
mv new/dt=2025-03-24 log/
fastals run pipeline.toml --set date=2025-03-25 --set train.out=fresh --until train
fastals compare model fresh --n 10 --min-overlap 0.2
mv fresh model
fastals run pipeline.toml --from publish --set to="$to" --set similar_to="$similar"
fastals recommend model --user v-0001 v-0002 --n 3 --titles titles.csv --item-column sku

# A visitor asks to be forgotten: the model, its file and what is served.
if [ "$to" = recommendations.jsonl ]; then
    fastals forget model --users v-0001
    fastals publish model --to "$to" $lists --quiet
else
    fastals forget model --users v-0001 --from "$to"
fi
# ... and the log, from which the next whole fit is made.
for file in log/*/events.csv; do
    grep -v ",v-0001," "$file" > rest && mv rest "$file"
done
