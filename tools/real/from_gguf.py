"""Writes the weights of a GGUF file, dequantized to FP32, as a checkpoint beside the one that it was made of.

    python3 tools/real/from_gguf.py MODEL-Q4_K_M.gguf DIR OUT

For `panq fidelity DIR OUT --precision fp32`, which then tells how far llama.cpp's weights are from
DIR's.  Activations are not rounded there, which llama.cpp does to 8 bits in blocks: its own
distance is larger.  Prints the bits a weight that the file's linears have.
"""
import argparse
import json
import os
import shutil

import gguf
import numpy as np

from fetch import Source, halved


def read_weights(source, path):
    """All tensors in FP32 to a safetensors file; returns bits and number of the layers' weights."""
    header, blobs, at, bits, count = {}, [], 0, 0, 0
    heads = {"attn_q": source.get("attention.head_count"), "attn_k": source.get("attention.head_count_kv")}
    for tensor in source.reader.tensors:
        name = source.hf_name(tensor.name)
        if not name:
            continue
        shape = [int(n) for n in tensor.shape][::-1]
        w = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(np.float32).reshape(shape)
        kind = tensor.name.split(".")[2] if tensor.name.startswith("blk.") else ""
        if source.arch == "llama" and kind in heads:
            w = halved(w, heads[kind])
        if kind and w.ndim == 2:
            bits, count = bits + 8 * tensor.data.nbytes, count + w.size
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [at, at + w.nbytes]}
        blobs.append(w)
        at += w.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for w in blobs:
            f.write(np.ascontiguousarray(w).tobytes())
    return bits, count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gguf")
    parser.add_argument("folder")
    parser.add_argument("out")
    args = parser.parse_args()
    os.makedirs(args.out, exist_ok=True)
    for name in os.listdir(args.folder):
        if name.endswith(".json") and not name.endswith(".index.json"):
            shutil.copy(os.path.join(args.folder, name), args.out)
    bits, count = read_weights(Source(args.gguf), os.path.join(args.out, "model.safetensors"))
    print(f"{bits / count:.3f} bits a weight in the layers' linears")


if __name__ == "__main__":
    main()
