# make         vet, format and the tests that need no device, under a minute
# make demo    the embedded model on the pictures in this repository
# make desktop the program with a window, as clip-wgpu-desktop
# make test    everything
# make emoji-clip RECIPE=reference|ship   makes the embedded model anew, MINUTES of it at once:
#              see clip/emoji-clip/recipe/README.md

export XDG_RUNTIME_DIR ?= /tmp
PICTURES := clip/emoji-clip/examples
SERIAL := LongState|LongSubmission|FoldedDispatch|SplitToFitABinding|CastDType|MemoryStaysFlat|Variants|TagsDecide|OptionsCombine|$\
	IntermediatesOptions|MemoryIsBounded|ModulesAreBounded|SaveRoundTrip|ConvertMemory|ContainersAgree|WithoutCacheFolder|StateDict|KilledRuns|$\
	KilledTrainings|TestTrain$$|TrainAndMerge|TrainStops|TrainLeaves|TrainSaves|TrainOfCoCa|TrainGroups|$\
	Checkpointing|EncodingAfterTraining|TrainingOnSequences|CoCaTrains
NEED_GPU := clip|clip/internal/engine|cmd/.*|gpu|gpu/.*|search|tests|train|train/eval

.PHONY: check nocgo heic build desktop dist demo emoji-clip test race window cross bench verify program profile

check:
	go vet ./...
	test -z "$$(gofmt -l .)"
	$(MAKE) nocgo

# What needs no GPU is tested as it is built where there is no C compiler.
nocgo:
	CGO_ENABLED=0 go test $$(go list ./... | grep -vE '^github.com/clip-wgpu/clip-wgpu/($(NEED_GPU))$$')
	go test -tags purego ./clip/preprocess/...

# What is behind -tags heic. With nodynamic the decoders' packages load no libraries of the system.
heic:
	go vet -tags heic,nodynamic ./clip/preprocess ./internal/walk ./cmd/clip-wgpu
	go test -tags heic,nodynamic -run 'HEI|Decode' ./clip/preprocess ./internal/walk

build:
	go build -o clip-wgpu ./cmd/clip-wgpu

# The program with a window, which on Linux takes the headers of X11 that README.md lists.
desktop:
	go build -tags glfw -o clip-wgpu-desktop ./cmd/clip-wgpu

# Archives for users in dist/, on Debian or Ubuntu with gcc, MinGW-w64 and X11's headers.
dist:
	go run ./internal/dist

demo: build
	./clip-wgpu classify $(PICTURES)/*.png --labels $(PICTURES)/labels.txt

RECIPE ?= reference
MINUTES ?= 110
emoji-clip: build
	sh clip/emoji-clip/recipe/run.sh $(RECIPE) $(MINUTES)

test:
	go test -timeout 25m ./...
	go test -short ./gpu -depth 2 # where runs overlap, as on a GPU

# Packages with locks or goroutines, without long tests in which nothing runs at once.
race:
	go test -race -timeout 15m -skip '$(SERIAL)' ./clip ./clip/checkpoint ./clip/hub ./clip/internal/engine ./cmd/clip-wgpu ./cmd/clip-wgpu/internal/gallery ./gpu ./gpu/scene ./internal/await ./internal/flight ./search ./search/index ./train ./train/data ./weights

# What is behind -tags glfw, on a display of its own (xvfb-run).
window:
	go vet -tags glfw ./gpu/window/... ./cmd/clip-wgpu
	xvfb-run -a go test -tags glfw -race ./gpu/window
	xvfb-run -a go test -tags glfw -race -run 'Show|Slide|Bars|DemoWithout' ./cmd/clip-wgpu

# Type-checks everything for Windows and macOS. For macOS ZIG is zig 0.13, and gpu/window is left out: its C takes Apple's headers.
cross:
	CC=x86_64-w64-mingw32-gcc GOOS=windows GOARCH=amd64 CGO_ENABLED=1 go vet ./...
	CC=$(CURDIR)/.ci/darwin/cc GOOS=darwin GOARCH=arm64 CGO_ENABLED=1 go vet -overlay .ci/darwin/overlay.json ./...
	CC=$(CURDIR)/.ci/darwin/cc GOOS=darwin GOARCH=amd64 CGO_ENABLED=1 go vet -overlay .ci/darwin/overlay.json ./...

bench:
	go test -run '^$$' -bench . ./...

verify: build
	./clip-wgpu verify --quiet $(CASES)

program: build
	./clip-wgpu program $(MODEL)

profile: build
	./clip-wgpu profile $(MODEL) --force --pprof profile.pb.gz
