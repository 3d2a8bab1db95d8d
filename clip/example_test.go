package clip_test

import (
	"context"
	"fmt"
	"image"
	"image/png"
	"log"
	"os"
	"slices"
	"strings"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/clip/checkpoint"
	"github.com/clip-wgpu/clip-wgpu/clip/generation"
	"github.com/clip-wgpu/clip-wgpu/clip/models"
	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
)

// picture reads one of the pictures that come with the embedded model.
func picture(name string) image.Image {
	f, err := os.Open("emoji-clip/examples/" + name)
	if err != nil {
		log.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		log.Fatal(err)
	}
	return img
}

// The main job: which of some labels fits a picture best? The embedded model
// knows emoji and icons; give Load a folder in open_clip's layout for photographs.
func Example() {
	ctx := context.Background()
	model, err := clip.Load(ctx, "")
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()

	labels := []string{"pizza", "rocket", "red apple"}
	images, err := model.EncodeImageFiles(ctx, []string{"emoji-clip/examples/rocket.png", "emoji-clip/examples/pizza.png"})
	if err != nil {
		log.Fatal(err)
	}
	texts, err := model.EncodeTexts(ctx, labels)
	if err != nil {
		log.Fatal(err)
	}
	logits, err := model.Similarity(ctx, images, texts)
	if err != nil {
		log.Fatal(err)
	}
	clip.Probabilities(model, logits)
	for i, name := range []string{"rocket.png", "pizza.png"} {
		for j, label := range labels {
			fmt.Printf("%s is a %s: %.1f%%\n", name, label, 100*logits.Data[i*len(labels)+j])
		}
	}
	// Output:
	// rocket.png is a pizza: 0.0%
	// rocket.png is a rocket: 100.0%
	// rocket.png is a red apple: 0.0%
	// pizza.png is a pizza: 100.0%
	// pizza.png is a rocket: 0.0%
	// pizza.png is a red apple: 0.0%
}

// A model of the family CoCa says in words what is on a picture. This one is small and
// has learnt nothing; clip.Load(ctx, "coca_ViT-L-14:mscoco_finetuned_laion2b_s13b_b90k") has.
func ExampleModel_Caption() {
	ctx := context.Background()
	cfg, _, err := models.Parse([]byte(`{"embed_dim": 16, "custom_text": true,
		"multimodal_cfg": {"context_length": 30, "width": 16, "heads": 2, "layers": 1},
		"vision_cfg": {"image_size": 16, "layers": 1, "width": 16, "head_width": 8, "patch_size": 8, "output_tokens": true},
		"text_cfg": {"context_length": 30, "width": 16, "heads": 2, "layers": 1, "embed_cls": true, "output_tokens": true}}`))
	if err != nil {
		log.Fatal(err)
	}
	model, err := clip.New(cfg, 1)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()

	options := clip.CaptionOptions{Options: generation.Default(), Prompt: "a photo of"}
	options.NumReturnSequences = 2
	captions, err := model.Caption(ctx, []image.Image{picture("pizza.png"), picture("rose.png")}, options)
	if err != nil {
		log.Fatal(err)
	}
	for _, caption := range captions {
		fmt.Println(caption[:len("a photo of")], "...")
	}
	// Output:
	// a photo of ...
	// a photo of ...
	// a photo of ...
	// a photo of ...
}

// A NaFlex model sees pictures in their own shape: each is resized so that patches of it
// fill a sequence. This one has learnt nothing;
// clip.Load(ctx, "ViT-B-16-SigLIP2-naflex:webli") has.
func ExampleModel_EncodeImages_naFlex() {
	ctx := context.Background()
	cfg, _, err := models.Parse([]byte(`{"embed_dim": 24,
		"vision_cfg": {"image_size": 64, "image_seq_len": 36, "timm_model_name": "naflexvit_base_patch16_siglip",
			"timm_pool": "map", "timm_proj": "none", "timm_model_kwargs": {"embed_dim": 24, "depth": 1, "num_heads": 2}},
		"text_cfg": {"width": 16, "heads": 2, "layers": 1}}`))
	if err != nil {
		log.Fatal(err)
	}
	model, err := clip.New(cfg, 1)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()

	pictures := []image.Image{
		image.NewRGBA(image.Rect(0, 0, 640, 480)), image.NewRGBA(image.Rect(0, 0, 300, 2000)), image.NewRGBA(image.Rect(0, 0, 5000, 1)),
	}
	for _, p := range pictures {
		patches, err := model.Preprocess().Patches(preprocess.FromImage(p))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(p.Bounds().Max, "→", patches.Grid[1], "×", patches.Grid[0], "patches,", len(patches.RGB), "bytes")
	}
	features, err := model.EncodeImages(ctx, pictures)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(features.Shape)
	// Output:
	// (640,480) → 7 × 5 patches, 26880 bytes
	// (300,2000) → 2 × 14 patches, 21504 bytes
	// (5000,1) → 36 × 1 patches, 27648 bytes
	// [3 24]
}

// A classifier is made once from labels and templates, and used for any number
// of pictures.
func ExampleZeroShotClassifier() {
	ctx := context.Background()
	model, err := clip.Load(ctx, checkpoint.Embedded)
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()

	labels := []string{"rose", "guitar", "sailboat", "snowman"}
	classifier, err := clip.ZeroShotClassifier(ctx, model, labels, []string{"{}", "a picture of a {}", "the {} emoji"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(classifier.Shape)
	for _, name := range []string{"snowman.png", "guitar.png"} {
		features, err := model.EncodeImages(ctx, []image.Image{picture(name)})
		if err != nil {
			log.Fatal(err)
		}
		logits, err := model.Similarity(ctx, features, classifier)
		if err != nil {
			log.Fatal(err)
		}
		best := 0
		for i, v := range logits.Data {
			if v > logits.Data[best] {
				best = i
			}
		}
		fmt.Println(name, "→", labels[best])
	}
	// Output:
	// [4 128]
	// snowman.png → snowman
	// guitar.png → guitar
}

// Pictures come from wherever they are, are decoded while others are encoded, and fail one
// by one.
func ExampleModel_encodePictures() {
	ctx := context.Background()
	model, err := clip.Load(ctx, "")
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()

	pictures := []preprocess.Picture{
		preprocess.File("emoji-clip/examples/rose.png"),
		preprocess.Reader(strings.NewReader("GIF? No.")),
		preprocess.GoImage(picture("pizza.png")),
	}
	for p, err := range model.EncodePictures(ctx, slices.Values(pictures), 16, nil) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(p.Features.Shape, p.Err)
	}
	// Output:
	// [128] <nil>
	// [] unsupported image format: starts with "GIF? No.", want PNG, JPEG, GIF, WebP, BMP or TIFF
	// [128] <nil>
}

// Texts can also be searched by a picture, or pictures by a text: features are
// unit vectors, so their dot product says how well two fit.
func ExampleModel_encodeTexts() {
	ctx := context.Background()
	model, err := clip.Load(ctx, "")
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()

	texts, err := model.EncodeTexts(ctx, []string{"umbrella", "closed umbrella", "bicycle"})
	if err != nil {
		log.Fatal(err)
	}
	dot := func(i, j int) (sum float32) {
		for k := range texts.Shape[1] {
			sum += texts.Data[i*texts.Shape[1]+k] * texts.Data[j*texts.Shape[1]+k]
		}
		return sum
	}
	fmt.Println("features:", texts.Shape)
	fmt.Println("umbrellas are alike:", dot(0, 1) > dot(0, 2))
	// Output:
	// features: [3 128]
	// umbrellas are alike: true
}

// Modules are named as in open_clip's state dict.
func ExampleModel_trace() {
	ctx := context.Background()
	model, err := clip.Load(ctx, "")
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()

	x, err := model.Preprocess().Apply(preprocess.FromImage(picture("rose.png")))
	if err != nil {
		log.Fatal(err)
	}
	images := clip.Array{Shape: []int{1, 3, 64, 64}, Data: x}
	texts, err := model.Tokenizer().Tokenize([]string{"rose"}, model.Config().TextCfg.ContextLength)
	if err != nil {
		log.Fatal(err)
	}
	modules := []string{"visual.conv1", "visual.transformer.resblocks.3.attn", "ln_final"}
	outputs, err := model.Trace(ctx, clip.ImageInputs(images), texts, modules...)
	if err != nil {
		log.Fatal(err)
	}
	for _, name := range modules {
		fmt.Println(name, outputs[name].Shape)
	}
	// Output:
	// visual.conv1 [1 128 4 4]
	// visual.transformer.resblocks.3.attn [1 17 128]
	// ln_final [1 16 128]
}

func ExampleModel_forwardIntermediates() {
	ctx := context.Background()
	model, err := clip.Load(ctx, "")
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()

	x, err := model.Preprocess().Apply(preprocess.FromImage(picture("rose.png")))
	if err != nil {
		log.Fatal(err)
	}
	images := clip.Array{Shape: []int{1, 3, 64, 64}, Data: x}
	out, err := model.ForwardIntermediates(ctx, clip.ImageInputs(images), nil, clip.IntermediatesOptions{
		ImageIndices:           clip.LastN(2),
		ImageOutputExtraTokens: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	for i, t := range out.ImageIntermediates {
		fmt.Println("block", 2+i, "patches", t.Shape, "class token", out.ImageIntermediatesPrefix[i].Shape)
	}
	fmt.Println("features", out.ImageFeatures.Shape)
	// Output:
	// block 2 patches [1 128 4 4] class token [1 1 128]
	// block 3 patches [1 128 4 4] class token [1 1 128]
	// features [1 128]
}
