#!/bin/sh
# run.sh reference|ship MINUTES makes an embedded model from its artwork, in the repository's
# root: what is left to do, and of the training no more than MINUTES. See README.md.
set -eu
recipe=$1 minutes=$2
tools=$PWD/clip/emoji-clip/recipe program=$PWD/clip-wgpu out=build/emoji-clip/$recipe
again="make emoji-clip RECIPE=$recipe"
[ -f "$tools/$recipe.flags" ] || { echo "RECIPE=$recipe: want reference or ship" >&2; exit 2; }
for tool in node npm; do
	command -v $tool >/dev/null || { echo "$tool is needed: Node.js 18 or newer" >&2; exit 1; }
done
if [ -f $out/figures.json ]; then
	echo "nothing is left to do: $out/model and $out/figures.json are there"
	exit
fi

lock=node_modules/.package-lock.json
[ "$tools/$lock" -nt "$tools/package-lock.json" ] || (cd "$tools" && npm ci --no-fund --no-audit && touch $lock)

if [ ! -d $out ]; then
	rm -rf $out.part
	node "$tools/prepare.mjs" "$recipe" $out.part
	mv $out.part $out
fi

cd $out
left() { node -p 'const r = JSON.parse(fs.readFileSync("run/run.json")); r.steps - r.step'; }
# train makes a piece and keeps what CPU time it took, after an interrupt, too.
train() (
	trap : INT
	code=0
	"$program" train "$@" --minutes "$minutes" || code=$?
	times >>times.txt
	exit $code
)
if [ ! -f run/run.json ]; then
	train --flags "$tools/$recipe.flags" -o run
elif [ "$(left)" -gt 0 ]; then
	train --resume run
fi
if [ "$(left)" -gt 0 ]; then
	echo "$(left) steps are left: $again goes on"
	exit
fi

"$program" convert run/model --dtype f16 -o model --force
for model in model emoji-clip; do
	[ -f eval-$model.jsonl ] && continue
	for set in twemoji openmoji noto; do
		"$program" eval eval/$set --class-names names.txt --model $model --json
		"$program" eval eval/$set.csv --model $model --json
	done >eval.part
	mv eval.part eval-$model.jsonl
done
[ -f baseline.json ] || { node "$tools/prepare.mjs" baseline . >baseline.part && mv baseline.part baseline.json; }
node "$tools/figures.mjs"
echo "$out/model is a model for --model."
[ "$recipe" != ship ] || echo "To embed it in the program: cp $out/model/* clip/emoji-clip/"
