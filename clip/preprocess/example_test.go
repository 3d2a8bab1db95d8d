package preprocess_test

import (
	"encoding/json"
	"fmt"
	"log"

	"github.com/clip-wgpu/clip-wgpu/clip/preprocess"
)

func Example() {
	var cfg preprocess.Config
	if err := json.Unmarshal([]byte(`{"size": 32, "resize_mode": "squash"}`), &cfg); err != nil {
		log.Fatal(err)
	}
	t, err := preprocess.New(cfg)
	if err != nil {
		log.Fatal(err)
	}
	img, err := preprocess.DecodeFile("../../tests/testdata/preprocess/png/04_rgba_50x70.png")
	if err != nil {
		log.Fatal(err)
	}
	x, err := t.Apply(img)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(img.Mode(), img.Width(), img.Height(), len(x))
	// Output: RGBA 50 70 3072
}
