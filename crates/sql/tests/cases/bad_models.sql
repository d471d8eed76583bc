CREATE MODEL a WITH ('path'='builtin:tiny');
CREATE MODEL b WITH ('provider'='moirai');
CREATE MODEL c WITH ('provider'='moirai-moe', 'path'='builtin:large', 'device'='gpu', 'rollout'='fast', 'patch.size'='0', 'season'='24');
CREATE MODEL d WITH ('provider'='seasonal-naive', 'season'='day', 'path'='models/x');
CREATE MODEL e WITH ('provider'='moirai-moe', 'license.accept'='cc-by-nc-4.0', 'device'='cuda:x');
