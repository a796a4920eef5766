"""Fine-tunes MobileBERT in several processes, with `ddp` or `fsdp`:

    torchrun --standalone --nproc-per-node 2 examples/finetune_distributed.py ddp CHECKPOINT OUTPUT

`ddp` keeps a model in each process and averages gradients, `fsdp` (FSDP2) keeps a part of each block.
"""

import gc
import sys

import torch
import torch.distributed as dist
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler

from mobilebert_core import AutoTokenizer
from mobilebert_torch import MobileBertForSequenceClassification

texts = ["I love this!", "What a joy.", "This is awful.", "I hate it."] * 8
labels = [1, 1, 0, 0] * 8
names = {0: "bad", 1: "good"}


def train(mode, checkpoint, output):
    if 8 % dist.get_world_size():
        sys.exit(f"wanted 1, 2, 4 or 8 processes, which share the 8 rows of a step, got {dist.get_world_size()}")
    rank, device = dist.get_rank(), "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda":
        torch.cuda.set_device(rank % torch.cuda.device_count())
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    torch.manual_seed(0)  # a new classifier is the same in every process
    model = MobileBertForSequenceClassification.from_pretrained(
        checkpoint, id2label=names, problem_type="single_label_classification", ignore_mismatched_sizes=True
    )
    model.to(device).train()
    if mode == "fsdp":
        mesh = init_device_mesh(device, (dist.get_world_size(),))
        for block in model.mobilebert.encoder.layer:
            fully_shard(block, mesh=mesh)
        trained = fully_shard(model, mesh=mesh)
    else:
        trained = DistributedDataParallel(model)

    def batch_of(rows):
        batch = tokenizer([text for text, _ in rows], padding=True, truncation=True, return_tensors="pt")
        return {**batch, "labels": torch.tensor([label for _, label in rows])}

    rows = list(zip(texts, labels, strict=True))
    sampler = DistributedSampler(rows, shuffle=True, seed=0)
    local_batch = 8 // dist.get_world_size()
    loader = DataLoader(rows, batch_size=local_batch, sampler=sampler, collate_fn=batch_of)
    optimizer = torch.optim.AdamW(trained.parameters(), lr=8e-5, weight_decay=0.01)
    for epoch in range(3):
        sampler.set_epoch(epoch)
        for batch in loader:
            loss = trained(**{name: value.to(device) for name, value in batch.items()}).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            dist.all_reduce(mean := loss.detach().clone())
            if rank == 0:
                print(f"loss {mean.item() / dist.get_world_size():.10f}", flush=True)
    whole = get_model_state_dict(model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    model.save_pretrained(output, state_dict=whole, is_main_process=rank == 0)
    if rank == 0:
        tokenizer.save_pretrained(output)


dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
train(*sys.argv[1:4])
dist.barrier()  # a process that leaves while another still writes may take it along
dist.destroy_process_group()
gc.collect()  # what still holds the group goes while its threads can be ended
