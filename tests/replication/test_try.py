import sys
sys.path.insert(0,'/work/wt/verify')
def test_all(replicated, found_in):
    from alpaca_lora.cli import main
    import time, shutil
    shutil.rmtree('/tmp/vrep', ignore_errors=True)
    for s in ("1-generate","2-curate","3-finetune","4-evaluate","5-export/hf","."):
        t=time.time()
        print(main(["verify", str(replicated/s), "--quiet"]), round(time.time()-t,1))
    shutil.copytree(replicated, '/tmp/vrep')
    assert 0
