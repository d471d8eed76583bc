CREATE MODEL a WITH ('path'='builtin:tiny');
CREATE MODEL b WITH ('provider'='moirai');
CREATE MODEL c WITH ('provider'='moirai-moe', 'path'='builtin:large', 'device'='gpu', 'rollout'='fast', 'patch.size'='0', 'season'='24');
CREATE MODEL d WITH ('provider'='seasonal-naive', 'season'='day', 'path'='models/x');
CREATE MODEL e WITH ('provider'='moirai-moe', 'license.accept'='', 'device'='cuda:x');
CREATE MODEL f WITH ('provider'='moirai-moe', 'path'='models/x', 'revision'='main', 'token'='t', 'dtype'='fp16');
CREATE MODEL g WITH ('provider'='seasonal-naive', 'license.accept'='mit');
