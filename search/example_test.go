package search_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/clip-wgpu/clip-wgpu/clip"
	"github.com/clip-wgpu/clip-wgpu/search"
	"github.com/clip-wgpu/clip-wgpu/search/index"
)

// Example indexes the drawings that the repository ships and finds some of them.
func Example() {
	ctx := context.Background()
	model, err := clip.Load(ctx, "") // the embedded one
	if err != nil {
		log.Fatal(err)
	}
	defer model.Close()

	folder, err := os.MkdirTemp("", "search")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(folder)
	options, err := search.Options(ctx, model, "emoji-clip")
	if err != nil {
		log.Fatal(err)
	}
	pictures, err := index.Create(filepath.Join(folder, "pictures.db"), options)
	if err != nil {
		log.Fatal(err)
	}
	defer pictures.Close()
	report, err := pictures.Update(ctx, []string{"../clip/emoji-clip/examples"}, search.Encoder(model, 16), index.UpdateOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(report.Encoded, "pictures")

	searcher, err := search.Open(ctx, model, pictures)
	if err != nil {
		log.Fatal(err)
	}
	defer searcher.Close()
	for _, text := range []string{"red apple", "snow", "pet +cat:2"} {
		query, err := search.Parse(text)
		if err != nil {
			log.Fatal(err)
		}
		query.Top = 1
		found, err := searcher.Search(ctx, query)
		if err != nil {
			log.Fatal(err)
		}
		for _, hit := range found.Hits {
			fmt.Printf("%s: %s\n", text, filepath.Base(hit.Paths[0]))
		}
	}
	// Output:
	// 16 pictures
	// red apple: red-apple.png
	// snow: snowman.png
	// pet +cat:2: cat-face.png
}
