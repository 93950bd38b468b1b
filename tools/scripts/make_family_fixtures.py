"""Makes small models with random weights and the logits that transformers computes for them.

    python make_family_fixtures.py runtime/src/test/resources/families

Written with torch 2.13.0 and transformers 5.18.0; every case has its own seed, so that a rerun changes nothing. Each
folder holds config.json, the weights, input_ids.json and logits.npy (float32, all positions). The six folders
llama-bias, llama-gqa-tied, llama-mha, llama3-ropescale, opt-350m-style and opt-preln were made before and are not
touched here.
"""

import json
import pathlib
import shutil
import sys

import numpy as np
import torch
import transformers
from safetensors.torch import load_file, save_file

VOCABULARY, HIDDEN, CONTEXT, TOKENS = 97, 32, 48, 21

LLAMA = dict(
    vocab_size=VOCABULARY,
    hidden_size=HIDDEN,
    intermediate_size=56,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=CONTEXT,
    rms_norm_eps=1e-5,
    bos_token_id=1,
    eos_token_id=2,
)
OPT = dict(
    vocab_size=VOCABULARY,
    hidden_size=HIDDEN,
    ffn_dim=56,
    num_hidden_layers=2,
    num_attention_heads=4,
    max_position_embeddings=CONTEXT,
    word_embed_proj_dim=HIDDEN,
)


def randomized(model, seed):
    """Weights large enough that a mistake in any part moves the logits."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        is_norm_weight = "norm" in name and name.endswith("weight")
        parameter.data = 1 + 0.2 * noise if is_norm_weight else 0.25 * noise
    return model.eval()


def make(out, name, seed, model, dtype=torch.float32, shard_size="1GB", config=None, rename=None):
    folder = out / name
    shutil.rmtree(folder, ignore_errors=True)
    randomized(model, seed).to(dtype).save_pretrained(folder, max_shard_size=shard_size)
    # Loaded afresh: the logits are those of the stored weights in float32 arithmetic, rotary frequencies included.
    model = transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager"
    ).eval()
    ids = torch.randint(3, VOCABULARY, (1, TOKENS), generator=torch.Generator().manual_seed(seed + 1))
    with torch.no_grad():
        logits = model(ids).logits[0]
    (folder / "input_ids.json").write_text(json.dumps(ids[0].tolist()))
    np.save(folder / "logits.npy", logits.numpy().astype(np.float32))
    if config:
        file = folder / "config.json"
        file.write_text(json.dumps(config(json.loads(file.read_text())), indent=2) + "\n")
    if rename:
        file = folder / "model.safetensors"
        save_file({rename(k): v.contiguous() for k, v in load_file(file).items()}, file, metadata={"format": "pt"})
    print(name, round(float(logits.abs().max()), 3))


def llama(**changes):
    return transformers.LlamaForCausalLM(
        transformers.LlamaConfig(**{**LLAMA, **changes}, attn_implementation="eager")
    )


def opt(**changes):
    return transformers.OPTForCausalLM(transformers.OPTConfig(**{**OPT, **changes}, attn_implementation="eager"))


def llama_of_2023(config):
    """The spelling before transformers 5, with the older key `type` and without head_dim."""
    rope = config.pop("rope_parameters")
    config.pop("head_dim", None)
    config["rope_theta"] = rope["rope_theta"]
    config["rope_scaling"] = {"type": rope["rope_type"], "factor": rope["factor"]}
    config["torch_dtype"] = config.pop("dtype")
    config["transformers_version"] = "4.31.0"
    return config


def llama_1(config):
    """As LLaMA 1 was published: no key-value heads, no theta, no biases, no tie flag."""
    for key in ("num_key_value_heads", "rope_parameters", "head_dim", "attention_bias", "mlp_bias", "dtype"):
        config.pop(key, None)
    config.pop("tie_word_embeddings")
    return config


def opt_of_2022(config):
    """As the first OPT configs were: the keys that came later are missing."""
    for key in ("enable_bias", "layer_norm_elementwise_affine", "_remove_final_layer_norm", "tie_word_embeddings"):
        config.pop(key, None)
    config["torch_dtype"] = config.pop("dtype")
    return config


def main():
    out = pathlib.Path(sys.argv[1])
    linear = {"rope_type": "linear", "factor": 2.5, "rope_theta": 10000.0}
    make(out, "llama-linear", 10, llama(rope_parameters=linear))
    make(out, "llama-old-spelling", 20, llama(rope_parameters=linear), config=llama_of_2023)
    make(out, "llama-1-config", 30, llama(num_key_value_heads=4), config=llama_1)
    make(out, "llama-gelu-head-dim", 40, llama(hidden_act="gelu", head_dim=12, tie_word_embeddings=True))
    make(out, "llama-bf16", 50, llama(), dtype=torch.bfloat16)
    make(out, "llama-f16", 60, llama(attention_bias=True), dtype=torch.float16)
    make(out, "llama-shards", 70, llama(), shard_size="24KB")
    make(out, "llama-no-prefix", 80, llama(), rename=lambda name: name.removeprefix("model."))
    make(out, "opt-gelu", 90, opt(activation_function="gelu"))
    make(out, "opt-gelu-new-untied", 100, opt(activation_function="gelu_new", tie_word_embeddings=False))
    make(out, "opt-post-norm", 110, opt(do_layer_norm_before=False))
    make(out, "opt-bare", 120, opt(enable_bias=False, layer_norm_elementwise_affine=False))
    make(out, "opt-no-final-norm", 130, opt(_remove_final_layer_norm=True))
    make(out, "opt-projections-pre-norm", 140, opt(word_embed_proj_dim=20))
    make(out, "opt-bf16-old-prefix", 150, opt(), dtype=torch.bfloat16, config=opt_of_2022,
         rename=lambda name: name.removeprefix("model."))


if __name__ == "__main__":
    main()
